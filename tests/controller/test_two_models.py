"""Two models in a row as one version: matched by name, joined into one graph, judged from end to end by the answers of
both where they were pushed.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from contract.answers.recorded import decode_recorded
from contract.errors import BadInput, Code
from contract.manifest import Tensor
from contract.samples import decode_sample
from contract.stages import decode_stages, match_matrix, match_stages
from contract.tensors import decode_tensors, encode_tensors
from controller.convert.estimator import load_estimator
from controller.convert.joined import join
from controller.convert.runs import open_session
from controller.convert.staged import Staged, convert_stages
from controller.gates.parity import judge_parity
from edgeward.pushed_parts import parts_of
from edgeward.staged import encode_two

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(80, 8)).astype(np.float32)
WEIGHTS = RNG.normal(size=(8, 5)).astype(np.float32)
FEATURES = np.tanh(ROWS @ WEIGHTS)
LABELS = (FEATURES[:, 0] > FEATURES[:, 1]).astype(int)
CLASSIFIER = LogisticRegression().fit(FEATURES, LABELS)


def features(opset: int = 13, *, rows: int | str = "N") -> onnx.ModelProto:
    """tanh(x W), where W is read by the branches of an `If` from outside, and an output that nobody needs."""
    outside = [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
    branch = [helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["t"])], each, [], outside) for each in "ab"]
    nodes = [
        helper.make_node("If", ["yes"], ["a"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("Tanh", ["a"], ["embedding"]),
        helper.make_node("Neg", ["embedding"], ["unused"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 5]) for name in ("embedding", "unused")]
    weights = [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array(True), "yes")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 8])]
    graph = helper.make_graph(nodes, "features", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def head(name: str = "embedding", kind: int = TensorProto.FLOAT, width: int = 5) -> onnx.ModelProto:
    """Softmax of twice the features; its own names are those of the first model."""
    nodes = [helper.make_node("Add", [name, name], ["a"]), helper.make_node("Softmax", ["a"], ["y"], axis=1)]
    tensors = [helper.make_tensor_value_info(each, kind, ["N", width]) for each in (name, "y")]
    graph = helper.make_graph(nodes, "head", tensors[:1], tensors[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def converted(raw: bytes, rows: bytes) -> Staged:
    """As the child of a conversion does it."""
    return convert_stages(decode_stages(raw), decode_sample(rows), (), budget_s=60, waived=False)


def pushed(models: list[Any], feeds: dict[str, str]) -> tuple[bytes, bytes]:
    kind, raw, rows = encode_two(models, ROWS, feeds, waived=False)
    assert kind == "stages"
    return raw, rows


def test_a_network_and_an_estimator_become_one_model_with_the_answers_of_both_in_a_row() -> None:
    made = converted(*pushed([features(), CLASSIFIER], {"X": "embedding"}))
    label, probabilities = made.session.run(None, {"x": ROWS})
    assert (label == CLASSIFIER.predict(FEATURES)).all()
    np.testing.assert_allclose(probabilities, CLASSIFIER.predict_proba(FEATURES), atol=1e-5)
    verdict = judge_parity(made.parity)
    assert verdict.passed
    assert "0 of 80 sample rows" in verdict.detail
    assert "onnxruntime" in made.parity.reference
    assert "scikit-learn" in made.parity.reference
    assert made.parity.boundary.rows > 0
    assert made.classes == ("0", "1")
    assert [stage.name for stage in made.stages] == ["ONNX", "LogisticRegression"]
    assert made.stages[1].feeds == (("X", "embedding"),)


def test_a_second_model_with_different_answers_fails_parity() -> None:
    raw, rows = pushed([features(), head()], {})
    arrays = decode_tensors(raw)
    arrays["answer/y"] = np.roll(arrays["answer/y"], 1, axis=0)  # as if the pushing machine had answered otherwise
    assert not judge_parity(converted(encode_tensors(arrays), rows).parity).passed


def test_names_used_by_both_models_stay_separate_and_old_operators_are_converted() -> None:
    raw = join(features(9).SerializeToString(), head().SerializeToString(), {"embedding": "embedding"})
    joined = onnx.load_from_string(raw)
    assert [entry.version for entry in joined.opset_import if entry.domain == ""] == [18]
    assert "Neg" not in {node.op_type for node in joined.graph.node}  # nobody needs the other output
    want = np.exp(2 * FEATURES) / np.exp(2 * FEATURES).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(open_session(raw).run(None, {"x": ROWS})[0], want, rtol=1e-4)


def test_a_name_in_both_models_is_refused() -> None:
    model = head()
    model.graph.node[1].output[0] = model.graph.output[0].name = "x"
    with pytest.raises(BadInput, match="'x' is an input of the first model and an output of the second"):
        join(features().SerializeToString(), model.SerializeToString(), {"embedding": "embedding"})


def test_features_are_converted_to_double_if_the_estimator_needs_it() -> None:
    second = to_onnx(
        CLASSIFIER, FEATURES[:1].astype(np.float64), options={id(CLASSIFIER): {"zipmap": False}}, target_opset=18
    )
    raw = join(features().SerializeToString(), second.SerializeToString(), {"X": "embedding"}, real="float64")
    assert (open_session(raw).run(None, {"x": ROWS})[0] == CLASSIFIER.predict(FEATURES)).all()


def test_models_that_do_not_fit_are_refused_with_both_lists_before_anything_is_sent() -> None:
    cases = [
        ([features(), head("image")], {}, "nothing feeds 'image': say which output does, as feeds={'image': 'embed"),
        ([features(), head(kind=TensorProto.DOUBLE)], {}, "'embedding' cannot feed 'embedding': FP32 is not FP64"),
        ([features(), head(width=6)], {}, "axis 1 is 5, not 6"),
        ([features(), head()], {"image": "embedding"}, "feeds names 'image', which is neither"),
        ([features(), CLASSIFIER], {}, "say which is the matrix, as feeds={'X': 'embedding'}"),
    ]
    for models, feeds, words in cases:
        with pytest.raises(BadInput) as caught:
            encode_two(models, ROWS, feeds, waived=False)
        assert caught.value.code == Code.REQUEST_INVALID
        assert words in caught.value.detail
        assert "the first model gives embedding FP32 (n x 5), unused FP32 (n x 5); the sec" in caught.value.detail
    for models, words in (([CLASSIFIER, head()], "pass the first as ONNX"), ([features()] * 3, "3 models in a row")):
        with pytest.raises(BadInput, match=words):
            encode_two(models, ROWS, {}, waived=False)


def test_ranks_must_match() -> None:
    picture = Tensor(name="picture", datatype="FP32", shape=(-1, 3, 8, 8))
    with pytest.raises(BadInput, match="it has 4 axes, not 2"):
        match_stages([picture], [Tensor(name="X", datatype="FP32", shape=(-1, 192))], {"X": "picture"})
    with pytest.raises(BadInput, match="no matrix of numbers"):
        match_matrix([picture], {})


def test_a_first_model_for_one_row_at_a_time_answers_many() -> None:
    made = converted(*pushed([features(rows=1), head()], {}))
    assert not isinstance(made.session.get_inputs()[0].shape[0], int)
    assert judge_parity(made.parity).passed


def test_the_last_batch_of_a_first_model_of_a_fixed_size_is_filled_up() -> None:
    raw, rows = pushed([features(rows=3), head()], {})  # 80 rows are 26 batches and two rows
    want = np.exp(2 * FEATURES) / np.exp(2 * FEATURES).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(decode_stages(raw).answers["y"], want, rtol=1e-4)
    assert judge_parity(converted(raw, rows).parity).passed


def test_two_estimators_are_pushed_as_the_pipeline_that_they_are() -> None:
    scaler = StandardScaler().fit(ROWS)
    second = LogisticRegression().fit(scaler.transform(ROWS), LABELS)
    kind, raw, rows = parts_of([scaler, second], ROWS, {}, waived=False)
    assert kind == "skops"
    assert (load_estimator(raw, ()).predict(ROWS) == second.predict(scaler.transform(ROWS))).all()
    assert decode_recorded(rows)[1] is not None, "the answers of the whole are recorded where it was pushed"


@pytest.mark.parametrize(
    ("models", "feeds", "words"),
    [
        ([CLASSIFIER, CLASSIFIER], {}, "a LogisticRegression, has no transform"),
        ([StandardScaler().fit(ROWS), CLASSIFIER], {"X": "variable"}, "feeds: two estimators need none"),
        ([StandardScaler().fit(ROWS), head()], {}, "pass the first as ONNX, or both as fitted estimators"),
    ],
)
def test_a_first_estimator_that_feeds_nothing_is_refused_in_words(
    models: list[Any], feeds: dict[str, str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        parts_of(models, ROWS, feeds, waived=False)
