"""ONNX of any origin: maps of classes, local functions, external weights and fixed batches are accepted; few rows
need a reason.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from contract.errors import BadInput, Code
from contract.onnx_scan import scan_onnx
from controller.convert.convert import ConversionLimits
from controller.convert.onnx_origin import as_devices_take, as_runs, fixed_rows, with_free_batch
from controller.convert.runs import open_session, run_rows
from controller.gates.parity import judge_parity
from edgeward.encode import encode_model, encode_rows
from tests.controller.conversions import convert_bytes

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(64, 4)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)


def graph_of(nodes: list[Any], rows: int | None, *, inner: tuple[Any, ...] = (), width: int = 3) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, width])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array([1, -1]), "flat")],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid("own", 1)] if inner else [])]
    return helper.make_model(graph, opset_imports=opsets, functions=inner, ir_version=8)


TIMES = [helper.make_node("MatMul", ["x", "w"], ["y"])]


def test_a_map_of_classes_is_removed() -> None:
    model = LogisticRegression().fit(ROWS, (ROWS[:, 0] > 0).astype(int))
    raw = to_onnx(model, ROWS[:1], target_opset={"": 18, "ai.onnx.ml": 3}).SerializeToString()
    assert open_session(raw).get_outputs()[1].type.startswith("seq")
    label, probabilities = open_session(as_devices_take(raw)).run(None, {"X": ROWS})
    assert np.allclose(probabilities, model.predict_proba(ROWS), atol=1e-6)
    assert (label == model.predict(ROWS)).all()


def test_local_functions_are_inlined() -> None:
    double = helper.make_function(
        "own", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Double", ["z"], ["y"], domain="own")]
    raw = graph_of(nodes, None, inner=(double,)).SerializeToString()
    with pytest.raises(BadInput):
        scan_onnx(raw)
    taken = as_devices_take(raw)
    assert np.allclose(open_session(taken).run(None, {"x": ROWS})[0], 2 * ROWS @ WEIGHTS, atol=1e-5)


def test_forbidden_content_is_still_refused() -> None:
    nodes = [helper.make_node("Shell", ["x"], ["y"], domain="foreign")]
    with pytest.raises(BadInput, match="foreign"):
        as_devices_take(graph_of(nodes, None).SerializeToString())
    with pytest.raises(BadInput):
        as_devices_take(b"no model")


def test_weights_beside_the_file_are_embedded(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(graph_of(TIMES, None), path, save_as_external_data=True, location="weights", size_threshold=0)
    kind, raw = encode_model(path)
    assert kind == "onnx"
    assert np.allclose(open_session(raw).run(None, {"x": ROWS})[0], ROWS @ WEIGHTS, atol=1e-5)
    (tmp_path / "weights").unlink()
    with pytest.raises(BadInput, match="files beside it"):
        encode_model(path)


def free(raw: bytes) -> Any:
    return with_free_batch(raw, open_session(raw), {"x": ROWS})


def test_a_fixed_batch_becomes_variable_if_the_answers_stay_the_same() -> None:
    flat = [helper.make_node("Reshape", ["x", "flat"], ["z"]), helper.make_node("MatMul", ["z", "w"], ["y"])]
    for nodes in (TIMES, flat):
        freed = free(graph_of(nodes, 1).SerializeToString())
        assert not isinstance(open_session(freed).get_inputs()[0].shape[0], int)
        assert np.allclose(open_session(freed).run(None, {"x": ROWS})[0], ROWS @ WEIGHTS, atol=1e-5)


def test_a_fixed_batch_becomes_variable_if_a_shape_or_a_state_of_zeros_names_it() -> None:
    """As today's exporter of PyTorch writes them: zeros that are meant, and states of recurrent layers."""
    shaped = graph_of(
        [
            helper.make_node("Reshape", ["x", "whole"], ["z"], allowzero=1),
            helper.make_node("Reshape", ["z", "back"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"]),
        ], 1,
    )  # fmt: skip
    for name, shape in (("whole", [1, 2, 2]), ("back", [1, 4])):
        shaped.graph.initializer.append(numpy_helper.from_array(np.array(shape), name))
    recurrent = graph_of(
        [
            helper.make_node("Unsqueeze", ["x", "first"], ["steps"]),
            helper.make_node("GRU", ["steps", "wg", "rg", "", "", "zeros"], ["", "last"], hidden_size=3),
            helper.make_node("Squeeze", ["last", "first"], ["y"]),
        ], 1,
    )  # fmt: skip
    given = {"first": np.array([0]), "zeros": np.zeros((1, 1, 3), np.float32)}
    given |= {"wg": RNG.normal(size=(1, 9, 4)).astype(np.float32), "rg": np.zeros((1, 9, 3), np.float32)}
    for name, array in given.items():
        recurrent.graph.initializer.append(numpy_helper.from_array(array, name))
    for model in (shaped, recurrent):
        raw = model.SerializeToString()
        alone = [open_session(raw).run(None, {"x": ROWS[row : row + 1]})[0] for row in range(len(ROWS))]
        freed = open_session(free(raw))
        assert np.allclose(freed.run(None, {"x": ROWS})[0], np.concatenate(alone), atol=1e-5)


def model_of_tokens(size: int) -> bytes:
    """As exporters write attention: a first token joined, heads folded into the batch, positions for each row."""
    nodes = [
        helper.make_node("Reshape", ["x", "tokens"], ["t"]), helper.make_node("Concat", ["first", "t"], ["c"], axis=1),
        helper.make_node("Expand", ["places", "of_rows"], ["p"]), helper.make_node("Add", ["c", "p"], ["a"]),
        helper.make_node("Transpose", ["a"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["turned", "heads"], ["h"]), helper.make_node("Softmax", ["h"], ["s"], axis=2),
        helper.make_node("Reshape", ["s", "back"], ["y"]),
    ]  # fmt: skip
    model, rng = graph_of(nodes, size, width=6), np.random.default_rng(1)
    shapes = {"tokens": [size, 2, 2], "of_rows": [size, 3, 2], "heads": [2 * size, 1, 3], "back": [size, 6]}
    given: dict[str, Any] = {name: np.array(shape) for name, shape in shapes.items()}
    given["first"] = np.repeat(rng.normal(size=(1, 1, 2)).astype(np.float32), size, axis=0)
    given["places"] = rng.normal(size=(1, 3, 2)).astype(np.float32)
    for name, array in given.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_is_freed_where_shapes_and_constants_of_attention_hold_it(size: int) -> None:
    raw = model_of_tokens(size)
    batches = [open_session(raw).run(None, {"x": ROWS[at : at + size]})[0] for at in range(0, 32, size)]
    freed = open_session(free(raw))
    assert not isinstance(freed.get_inputs()[0].shape[0], int)
    assert np.allclose(freed.run(None, {"x": ROWS[:32]})[0], np.concatenate(batches), atol=1e-5)
    assert len(freed.run(None, {"x": ROWS[:3]})[0]) == 3


def test_a_model_that_needs_its_batch_is_registered_with_runs_of_that_size() -> None:
    session = open_session(model_of_mixed_rows())
    assert fixed_rows(session) == 2
    runs = as_runs({"x": ROWS[:63]}, 2)
    assert runs["x"].shape == (31, 2, 4)
    assert run_rows(session, ["y"], runs)[0].shape == (31, 2, 3)
    answer = pushed(model_of_mixed_rows(), ROWS).answer
    assert answer.form.golden_rows == 32
    assert "it takes 2 rows at a time" in judge_parity(answer.parity).detail


def model_of_mixed_rows() -> bytes:
    """A model for two rows, whose answers depend on each other."""
    mixed = [helper.make_node("CumSum", ["x", "zero"], ["z"]), helper.make_node("MatMul", ["z", "w"], ["y"])]
    model = graph_of(mixed, 2)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0), "zero"))
    return bytes(model.SerializeToString())


def test_a_fixed_batch_stays_if_rows_would_change_each_others_answers() -> None:
    raw = model_of_mixed_rows()
    assert free(raw) == raw


def pushed(raw: bytes, rows: Any, *, waived: bool = False) -> Any:
    limits = ConversionLimits(timeout_s=120, memory_mb=4096)
    return asyncio.run(convert_bytes("onnx", raw, encode_rows(rows), limits, rows_waived=waived))


def test_a_pushed_onnx_with_few_rows_needs_a_reason() -> None:
    raw = graph_of(TIMES, 1).SerializeToString()
    with pytest.raises(BadInput) as caught:
        pushed(raw, ROWS[:4])
    assert caught.value.code == Code.SAMPLE_TOO_SMALL
    assert pushed(raw, ROWS[:4], waived=True).answer.form.golden_rows == 4
    assert pushed(raw, ROWS).answer.inputs[0].shape == (-1, 4)
