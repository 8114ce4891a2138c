"""Conversion judged by the user's own answers: wrong models that once passed are refused or correct."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from contract.answers.perturbed_rows import BOUNDARY, UNKNOWN_TEXT
from contract.errors import BadInput, Code
from contract.tensors import Array
from controller.convert import sklearn as converters
from controller.convert.precision import time_budget
from controller.convert.runs import open_session
from controller.convert.soundness import refuse_unsound
from controller.gates.parity import judge_parity
from edgeward.encode import encode_rows
from edgeward.recording import with_answers
from tests.controller.judged import answers, judged, passes

RNG = np.random.default_rng(7)
X = np.round(RNG.normal(20, 5, (400, 4)), 1)
Y = ((X[:, 0] > 20) & (X[:, 1] < 22)).astype(int)
HOLED = np.where(RNG.random(X.shape) < 0.1, np.nan, X)


def test_the_reference_is_the_users_recorded_answers_and_the_controllers_own_run_is_a_second_check() -> None:
    parity = judged(LogisticRegression(max_iter=500).fit(X, Y), X).parity
    assert "where it was pushed" in parity.reference
    assert parity.witness is not None
    assert (parity.witness.rows > 400, parity.witness.differing) == (True, 0)
    assert "on the controller" in parity.witness_by


def test_a_file_without_a_live_estimator_is_judged_by_the_controllers_own_run() -> None:
    parity = judged(LogisticRegression(max_iter=500).fit(X, Y), X, live=False).parity
    assert "on the controller" in parity.reference
    assert parity.witness is None


class Drifting(LinearRegression):
    """A linear regression whose library answers otherwise where it was fitted, as versions of libraries do."""

    here = False

    def predict(self, rows: Any) -> Any:
        return super().predict(rows) + (0.0 if self.here else 0.5 * np.abs(super().predict(rows)))


def test_answers_of_another_version_of_the_library_are_found() -> None:
    model = LinearRegression().fit(X, X[:, 0])
    encoded = with_answers(_as(Drifting, model), X, encode_rows(X), waived=False)
    from contract.answers.recorded import decode_recorded
    from controller.convert.judge import judge_conversion

    plain, recorded = decode_recorded(encoded)
    parity = judge_conversion(model, plain, recorded, budget_s=60.0).parity
    verdict = judge_parity(parity)
    assert not verdict.passed
    assert parity.witness is not None
    assert parity.witness.differing > 400
    assert "answered otherwise by scikit-learn" in verdict.detail


def _as(kind: type, model: Any) -> Any:
    made = kind()
    made.__dict__.update(model.__dict__)
    return made


class Refuses(RegressorMixin, BaseEstimator):
    def predict(self, rows: Any) -> Any:
        raise ValueError("X has 4 features, but expecting 5")


def test_an_estimator_that_refuses_its_sample_is_reported_before_anything_is_sent() -> None:
    with pytest.raises(BadInput, match=r"refuses its own sample, so nothing was sent.*expecting 5") as caught:
        with_answers(Refuses(), X, encode_rows(X), waived=False)
    assert caught.value.code == Code.SAMPLE_REFUSED


def test_a_sample_of_one_row_is_refused_without_a_reason() -> None:
    model, one = LinearRegression().fit(X, X[:, 0]), X[:1].repeat(100, axis=0)
    with pytest.raises(BadInput) as caught:
        with_answers(model, one, encode_rows(one), waived=False)
    assert caught.value.code == Code.SAMPLE_TOO_SMALL
    assert with_answers(model, one, encode_rows(one), waived=True)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Changes the initial numbers of every converted model, as a converter with a fault would."""

    def plant(change: Any) -> None:
        real = converters.convert_sklearn

        def faulty(*arguments: Any, **options: Any) -> Any:
            made = real(*arguments, **options)
            change(made)
            return made

        monkeypatch.setattr(converters, "convert_sklearn", faulty)

    return plant


def test_small_targets_are_judged_by_their_spread(planted: Any) -> None:
    """An error of 18 % of the spread of targets around 1e-4 was within the old tolerance of 1e-4."""
    targets = 1e-4 * (X[:, 0] - 20) / 5
    model = LinearRegression().fit(X, targets)
    assert passes(judged(model, X))
    planted(lambda made: _scale(made, 1.18))
    verdict = judge_parity(judged(model, X).parity)
    assert not verdict.passed
    assert "of the spread of its output" in verdict.detail


def _scale(made: Any, by: float) -> None:
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.name == "coefficients":
                attribute.floats[:] = [by * value for value in attribute.floats]
    for tensor in made.graph.initializer:
        if tensor.name.startswith("coef"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * by, tensor.name))


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(20, random_state=0),
        ExtraTreesClassifier(20, random_state=0),
        DecisionTreeRegressor(random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_that_were_fitted_with_missing_values_answer_them_as_scikit_learn_does(model: Any) -> None:
    found = judged(model.fit(HOLED, Y), HOLED)
    assert passes(found)
    assert found.required == ()
    fresh = np.where(RNG.random((2000, 4)) < 0.4, np.nan, RNG.normal(20, 5, (2000, 4)).astype(np.float32))
    got = next(iter(answers(found, fresh).values())).ravel()
    assert (got != model.predict(fresh)).mean() < 0.002  # votes may tie


@pytest.mark.parametrize(
    "last",
    [
        HistGradientBoostingRegressor(max_iter=20, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        RandomForestClassifier(10, random_state=0),
        DecisionTreeClassifier(random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_behind_a_scaler_answer_boundary_rows_exactly(last: Any) -> None:
    targets = X[:, 0] if "Regressor" in type(last).__name__ else Y + (X[:, 2] > 22)
    found = judged(make_pipeline(StandardScaler(), last).fit(X, targets), X)
    assert passes(found), judge_parity(found.parity).detail
    assert found.parity.boundary.rows == 500
    assert found.parity.kinds[BOUNDARY].differing == 0


def test_thresholds_of_the_trees_themselves_are_tried() -> None:
    parity = judged(DecisionTreeClassifier(random_state=0).fit(X, Y), X).parity
    assert parity.others["threshold"].rows == 500
    assert parity.others["threshold"].differing == 0


def test_missing_text_is_missing_for_the_estimator_whatever_its_imputer_replaces() -> None:
    cells = np.array(["a", "b", "c", ""] * 100, dtype=object)
    frame = pd.DataFrame({"t": X[:, 0], "site": cells})
    columns = ColumnTransformer(
        [
            ("t", "passthrough", ["t"]),
            ("s", make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder()), ["site"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(frame, Y)
    found = judged(model, frame)
    assert passes(found)
    assert found.rows.stand_ins == {"site": ""}


def test_text_becomes_lower_case_on_systems_without_the_locale_en_us() -> None:
    drawn = np.random.default_rng(0).choice(["Good", "bad", "Fine", "awful", "x1"], (200, 5))
    frame = pd.DataFrame({"said": [" ".join(words) for words in drawn]})
    vectorizer = TfidfVectorizer(token_pattern="[a-zA-Z0-9_]+")
    model = make_pipeline(ColumnTransformer([("text", vectorizer, "said")]), LogisticRegression())
    assert passes(judged(model.fit(frame, frame["said"].str.count("Good") > 1), frame))


def test_the_same_model_gives_the_same_bytes_in_any_order_of_its_operator_sets() -> None:
    made = onnx.load_from_string(model_of(helper.make_node("Identity", ["x"], ["y"])))
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    turned = onnx.ModelProto.FromString(made.SerializeToString())
    del turned.opset_import[:]
    turned.opset_import.extend(reversed(made.opset_import))
    assert made != turned
    assert converters._same_bytes(made) == converters._same_bytes(turned)


def test_rows_that_the_estimator_refuses_are_counted_and_not_compared() -> None:
    frame = pd.DataFrame({"t": X[:, 0], "site": np.array(["a", "b"] * 200, dtype=object)})
    columns = ColumnTransformer([("t", "passthrough", ["t"]), ("s", OneHotEncoder(), ["site"])])
    parity = judged(make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(frame, Y), frame).parity
    assert parity.refused[UNKNOWN_TEXT] == 1
    assert UNKNOWN_TEXT not in parity.others


def model_of(*nodes: Any, shape: tuple[Any, ...] = (None, 2)) -> bytes:
    takes = helper.make_tensor_value_info("X", TensorProto.FLOAT, list(shape))
    gives = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "model", [takes], [gives])
    raw: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return raw


TWO: Array = np.arange(20, dtype=np.float32).reshape(10, 2)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            [helper.make_node("RandomNormalLike", ["X"], ["R"]), helper.make_node("Add", ["X", "R"], ["Y"])],
            "operators of chance: RandomNormalLike",
        ),
        (
            [
                helper.make_node("ReduceMean", ["X"], ["M"], axes=[0], keepdims=1),
                helper.make_node("Sub", ["X", "M"], ["Y"]),
            ],
            "when the row comes alone",
        ),
        ([helper.make_node("Sub", ["X", "X"], ["Z"]), helper.make_node("Div", ["Z", "Z"], ["Y"])], "NaN in every row"),
    ],
    ids=["chance", "the batch", "nothing but NaN"],
)
def test_a_model_with_meaningless_answers_is_refused_by_name(nodes: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        check(*nodes)
    assert caught.value.code == Code.MODEL_UNSOUND


def check(*nodes: Any) -> list[Any]:
    model = model_of(*nodes)
    return refuse_unsound(model, open_session(model), {"X": TWO})


def test_a_correct_model_passes_and_its_answers_are_returned() -> None:
    (answers,) = check(helper.make_node("Add", ["X", "X"], ["Y"]))
    assert np.array_equal(answers, 2 * TWO)


def _search_for_ever() -> None:
    with time_budget(0.05):
        while True:
            pass


def test_a_precision_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(BadInput, match="took longer") as caught:
        _search_for_ever()
    assert caught.value.code == Code.CONVERSION_LIMIT
