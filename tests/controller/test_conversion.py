"""scikit-learn to ONNX with evidence, in the real confined child."""

import asyncio
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

from contract.errors import BadInput, Code
from contract.onnx_scan import scan_onnx
from contract.tensors import decode_tensors
from controller.convert.compare import compare, tolerances
from controller.convert.convert import ConversionLimits, Converted
from controller.convert.estimator import _untrusted, load_estimator
from controller.convert.sample_frame import read_sample
from controller.convert.sklearn import convert as convert_in
from controller.gates.parity import MAX_ROWS_BEYOND, judge_parity
from edgeward.encode import encode_model, encode_rows
from tests.controller.conversions import convert_bytes, form_of

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(20, 5, (1500, 5)), 1)
Y = ((X[:, 0] > 20) & (X[:, 1] < 22)).astype(int)
LIMITS = ConversionLimits(timeout_s=120, memory_mb=4096)


def convert(model: Any, sample: Any = X, limits: ConversionLimits = LIMITS) -> Converted:
    kind, raw = encode_model(model)
    return asyncio.run(convert_bytes(kind, raw, encode_rows(sample), limits))


def refused(model: Any, sample: Any = X, limits: ConversionLimits = LIMITS) -> BadInput:
    with pytest.raises(BadInput) as caught:
        convert(model, sample, limits)
    return caught.value


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), "float32"),
        (RandomForestClassifier(20, random_state=0), "float32"),
        (HistGradientBoostingClassifier(max_iter=20), "float64"),
        (MLPClassifier((16,), max_iter=200, random_state=0), "float32"),
        (make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)), "float64"),
    ],
    ids=["scaled linear", "forest", "boosting", "network", "scaled forest"],
)
def test_an_estimator_converts_in_the_first_precision_that_agrees(model: Any, precision: str) -> None:
    converted = convert(model.fit(X, Y))
    parity = converted.answer.parity
    assert judge_parity(parity).passed, parity
    assert (parity.precision, parity.sample.rows, parity.boundary.rows) == (precision, 1500, 500)
    assert converted.answer.task == "classification"


def test_wrong_answers_of_float32_are_found_by_rows_and_not_by_accuracy() -> None:
    """A forest behind a scaler on rounded readings: in float32 rows change sides, and the gate counts them."""
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(X, Y)
    rows = read_sample(X, named=False)
    raw = convert_in(model, rows, "float32")
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, rows.arrays("float32"))
    expected = {"p": model.predict_proba(X)}
    compared, worst = compare(rows, expected, {"p": probabilities}, "sample", tolerances(expected, alone=False))
    assert compared.ratio_beyond > MAX_ROWS_BEYOND
    assert abs((label == Y).mean() - model.score(X, Y)) < 0.01
    assert worst[0].inputs.keys() == {f"x{number}" for number in range(5)}


def test_regressions_and_text_labels_are_distinguished() -> None:
    assert convert(RandomForestRegressor(5, random_state=0).fit(X, X[:, 0])).answer.task == "regression"
    words = convert(LogisticRegression().fit(X, np.where(Y, "rain", "dry"))).answer
    assert (words.task, words.outputs[0].datatype) == ("classification", "BYTES")


def test_a_gaussian_process_is_converted_in_float64() -> None:
    rows = X[:60] / 20
    model = GaussianProcessRegressor(ConstantKernel(1.0, "fixed") * RBF(1.0, "fixed")).fit(rows, X[:60, 0])
    assert convert(model, rows).answer.inputs[0].datatype == "FP64"


def test_columns_of_several_types_become_one_input_each() -> None:
    frame = pd.DataFrame({"t": X[:, 0], "h": X[:, 1], "site": np.where(X[:, 2] > 20, "a", "b"), "n": np.arange(1500)})
    frame.loc[3, "t"] = np.nan
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["t", "h"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["site"]),
        ],
        remainder="passthrough",
    )
    answer = convert(make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(frame, Y), frame).answer
    assert [(tensor.name, tensor.datatype) for tensor in answer.inputs] == [
        ("t", "FP32"),
        ("h", "FP32"),
        ("site", "BYTES"),
        ("n", "INT64"),
    ]
    assert judge_parity(answer.parity).passed


def test_a_frame_of_numbers_stays_one_matrix_with_named_columns() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    answer = convert(LogisticRegression(max_iter=1000).fit(frame, Y), frame).answer
    assert (answer.columns, len(answer.inputs)) == (tuple("abcde"), 1)


@pytest.mark.parametrize(
    ("model", "nan"),
    [
        (LogisticRegression(max_iter=1000), "refuse"),
        (HistGradientBoostingClassifier(max_iter=5), "accept"),
        (make_pipeline(SimpleImputer(), LogisticRegression(max_iter=1000)), "accept"),
        (RandomForestClassifier(5, random_state=0), "accept"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_the_estimator_decides_whether_a_value_may_be_missing(model: Any, nan: str) -> None:
    missing = X.copy()
    missing[::7, 1] = np.nan
    fitted = model.fit(missing if nan == "accept" else X, Y)
    assert convert(fitted).answer.nan == nan


def test_an_untrusted_type_is_refused_until_an_operator_trusts_it() -> None:
    error = refused(make_pipeline(RobustScaler(), _Unconvertible()).fit(X, Y))
    assert error.code == Code.ESTIMATOR_UNTRUSTED
    assert "_Unconvertible" in error.detail
    _, raw = encode_model(_Unconvertible().fit(X, Y))
    with pytest.raises(BadInput, match="_Unconvertible"):
        load_estimator(raw, ())
    trusted = load_estimator(raw, (f"{__name__}._Unconvertible",))
    assert type(trusted) is _Unconvertible


def test_the_advice_to_trust_a_type_is_given_only_if_its_package_is_installed() -> None:
    assert "convert.trusted_types" in _untrusted(["sklearn.somewhere.Thing"])
    for absent in ("__main__.Mine", "nowhere_to_be_found.models.Net"):
        assert "trusted_types" not in _untrusted([absent])
        assert "Push an ONNX file" in _untrusted([absent])


def test_a_step_without_an_onnx_form_is_named_with_what_to_do() -> None:
    from sklearn.decomposition import NMF

    error = refused(make_pipeline(NMF(2), LogisticRegression()).fit(X[:100], Y[:100]), X[:100])
    assert error.code == Code.ESTIMATOR_UNSUPPORTED
    assert "step 'nmf' (NMF)" in error.detail
    assert "use TruncatedSVD" in error.detail


@pytest.mark.parametrize("raw", [b"", b"hello", b"PK\x03\x04 broken"])
def test_bytes_that_are_not_a_model_are_refused(raw: bytes) -> None:
    for reads, code in ((load_skops, Code.REQUEST_INVALID), (scan_onnx, Code.MODEL_REFUSED)):
        with pytest.raises(BadInput) as caught:
            reads(raw)
        assert caught.value.code == code


@pytest.mark.parametrize(("kind", "code"), [("skops", Code.REQUEST_INVALID), ("onnx", Code.MODEL_REFUSED)])
def test_the_child_process_reports_what_is_wrong_with_the_bytes(kind: Any, code: Code) -> None:
    with pytest.raises(BadInput) as caught:
        asyncio.run(convert_bytes(kind, b"PK\x03\x04 broken", encode_rows(X), LIMITS))
    assert caught.value.code == code


def load_skops(raw: bytes) -> Any:
    return load_estimator(raw, ())


def test_a_conversion_that_takes_too_long_is_ended() -> None:
    error = refused(LogisticRegression(max_iter=1000).fit(X, Y), limits=ConversionLimits(timeout_s=0.2, memory_mb=4096))
    assert error.code == Code.CONVERSION_LIMIT


def test_a_conversion_that_needs_too_much_memory_is_ended() -> None:
    model = RandomForestClassifier(60, random_state=0).fit(RNG.normal(size=(3000, 5)), RNG.integers(0, 2, 3000))
    error = refused(model, limits=ConversionLimits(timeout_s=120, memory_mb=20))
    assert error.code in (Code.CONVERSION_LIMIT, Code.CONVERSION_FAILED, Code.REQUEST_INVALID)
    assert skops.io.dumps(model)


class _Unconvertible(ClassifierMixin, BaseEstimator):
    def fit(self, features: Any, labels: Any) -> "_Unconvertible":
        self.classes_ = np.unique(labels)
        return self

    def predict(self, features: Any) -> Any:
        return np.zeros(len(features))


def with_text(encoder: Any, cells: list[Any], labels: Any) -> tuple[Any, pd.DataFrame]:
    frame = pd.DataFrame({"t": np.linspace(0, 1, len(cells)), "site": pd.Series(cells, dtype=object)})
    model = make_pipeline(
        ColumnTransformer([("n", "passthrough", ["t"]), ("c", encoder, ["site"])]), LogisticRegression()
    )
    return model.fit(frame, labels), frame


SITES = ["a", "b", "c"] * 40
IS_A = [site == "a" for site in SITES]


@pytest.mark.parametrize(
    ("encoder", "cells", "stand_ins"),
    [
        (OneHotEncoder(handle_unknown="ignore"), SITES, (("site", "nan"),)),
        (OneHotEncoder(), SITES, ()),
        (OneHotEncoder(handle_unknown="ignore"), [*SITES[:-3], "", "", ""], (("site", ""),)),
    ],
    ids=["unknown is ignored", "unknown is an error", "the empty text is a category"],
)
def test_the_estimator_decides_which_text_replaces_a_missing_one(encoder: Any, cells: Any, stand_ins: Any) -> None:
    model, frame = with_text(encoder, cells, IS_A)
    answer = convert(model, frame).answer
    assert judge_parity(answer.parity).passed
    assert answer.missing_text == stand_ins


@pytest.mark.parametrize("missing", [np.nan, None], ids=["NaN", "None"])
def test_a_missing_text_in_the_sample_is_missing_for_the_estimator_and_onnx(missing: Any) -> None:
    cells = [missing if number % 10 == 0 else site for number, site in enumerate(SITES)]
    model, frame = with_text(OneHotEncoder(handle_unknown="ignore"), cells, [cell is missing for cell in cells])
    converted = convert(model, frame)
    assert judge_parity(converted.answer.parity).passed, converted.answer.parity
    ((column, text),) = converted.answer.missing_text
    assert column == "site"
    given = decode_tensors(form_of(converted)[1])["in/site"].ravel().tolist()
    assert given[:2] == [text, "b"]


def test_only_columns_without_which_the_estimator_fails_are_required() -> None:
    rows = X.copy()
    rows[::7, 1] = np.nan
    frame = pd.DataFrame(rows, columns=list("abcde"))
    model = make_pipeline(
        ColumnTransformer([("i", SimpleImputer(), ["b"]), ("p", "passthrough", ["a", "c", "d", "e"])]),
        LogisticRegression(),
    )
    answer = convert(model.fit(frame, Y), frame).answer
    assert (answer.nan, answer.required) == ("accept", ("a", "c", "d", "e"))


def test_names_of_dimensions_of_a_pushed_model_are_kept() -> None:
    from onnx import TensorProto, helper

    node = helper.make_node("Add", ["a", "b"], ["c"])
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in "abc"]
    graph = helper.make_graph([node], "g", tensors[:2], tensors[2:])
    raw = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    answer = convert(raw, pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0)})).answer
    assert [tensor.dimensions for tensor in answer.inputs] == [("batch", ""), ("batch", "")]
