"""A sample finds the inputs of a pushed ONNX model by name, in any rank and type; what does not match is refused."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from contract.answers.tensor_sample import MAX_GOLDEN_BYTES, golden_rows, match_sample
from contract.errors import BadInput, Code
from contract.golden import answers, ranks_of, split_golden
from contract.manifest import Manifest, Tensor
from contract.samples import decode_sample, encode_sample
from contract.tensors import decode_tensors
from controller.convert.convert import ConversionLimits, Converted
from edgeward.cli.pushed_file import _rows
from edgeward.encode import encode_rows
from firmware_sim.models import make_model
from tests.controller.conversions import convert_bytes, form_of

LIMITS = ConversionLimits(timeout_s=120, memory_mb=4096)
A, B = (Tensor(name=name, datatype="FP32", shape=(-1, 1)) for name in "ab")
STATE = Tensor(name="state", datatype="FP32", shape=(2, -1, 4))
RATE = Tensor(name="rate", datatype="INT64", shape=())
SOUND = Tensor(name="sound", datatype="FP32", shape=(-1, 8))


def model_of(
    inputs: list[tuple[str, int, list[Any]]], nodes: list[Any], outputs: list[tuple[str, int, list[Any]]]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


FLOAT = TensorProto.FLOAT
MINUS = model_of(
    [("b", FLOAT, [None, 1]), ("a", FLOAT, [None, 1])],
    [helper.make_node("Sub", ["a", "b"], ["minus"])],
    [("minus", FLOAT, [None, 1])],
)
"""a - b, with b as its first input."""
RECURRENT = model_of(
    [("sound", FLOAT, [None, 8]), ("state", FLOAT, [2, None, 4]), ("rate", TensorProto.INT64, [])],
    [
        helper.make_node("Cast", ["rate"], ["real"], to=FLOAT),
        helper.make_node("Mul", ["state", "real"], ["next"]),
        helper.make_node("Mul", ["sound", "real"], ["loud"]),
    ],
    [("loud", FLOAT, [None, 8]), ("next", FLOAT, [2, None, 4])],
)


def converted(raw: bytes, sample: Any) -> Converted:
    return asyncio.run(convert_bytes("onnx", raw, encode_rows(sample), LIMITS, rows_waived=True))


def manifest_of(made: Converted) -> Manifest:
    answer = made.answer
    named = {"inputs": answer.inputs, "outputs": answer.outputs, "columns": answer.columns}
    return replace(make_model(1, "good").manifest, **named)


def test_inputs_are_matched_by_name_in_any_order() -> None:
    sample = {"a": np.arange(5.0), "b": np.full(5, 10.0)}
    made = converted(MINUS, sample)
    assert made.answer.columns == ("b", "a")
    _, expected = split_golden(decode_tensors(form_of(made)[1]), manifest_of(made))
    assert expected[0].ravel().tolist() == [-10.0, -9.0, -8.0, -7.0, -6.0]


def test_a_model_with_a_state_is_recorded_by_runs_and_gives_the_same_answers_again() -> None:
    sample = {
        "rate": np.array(3),
        "state": np.arange(5 * 2 * 1 * 4, dtype=np.float32).reshape(5, 2, 1, 4),
        "sound": np.ones((5, 1, 8), np.float32),
    }
    made = converted(RECURRENT, sample)
    manifest = manifest_of(made)
    inputs, expected = split_golden(decode_tensors(form_of(made)[1]), manifest)
    assert (made.answer.form.golden_rows, made.answer.columns, made.answer.parity.sample.rows) == (5, (), 5)
    assert (inputs["rate"].shape, expected[1].shape) == ((5,), (5, 2, 1, 4))
    session = onnxruntime.InferenceSession(form_of(made)[0], providers=["CPUExecutionProvider"])
    again = answers(lambda given: list(session.run(None, given)), inputs, ranks_of(manifest))
    assert all(np.array_equal(got, want) for got, want in zip(again, expected, strict=True))


def test_outputs_that_do_not_count_rows_make_the_whole_sample_one_run() -> None:
    total = model_of(
        [("x", FLOAT, [None, 3])],
        [helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)],
        [("total", FLOAT, [])],
    )
    made = converted(total, np.ones((6, 3), np.float32))
    _, expected = split_golden(decode_tensors(form_of(made)[1]), manifest_of(made))
    assert (made.answer.form.golden_rows, expected[0].tolist()) == (1, [18.0])


def test_pictures_are_recorded_within_the_limit_of_a_golden_set() -> None:
    mean = model_of(
        [("x", TensorProto.UINT8, [None, 3, None, None])],
        [
            helper.make_node("Cast", ["x"], ["real"], to=FLOAT),
            helper.make_node("GlobalAveragePool", ["real"], ["mean"]),
        ],
        [("mean", FLOAT, [None, 3, 1, 1])],
    )
    pictures = np.random.default_rng(0).integers(0, 255, (20, 3, 512, 512), dtype=np.uint8)
    made = converted(mean, {"x": pictures})
    assert (made.answer.form.golden_rows, made.answer.inputs[0].datatype) == (5, "UINT8")
    assert len(form_of(made)[1]) < MAX_GOLDEN_BYTES + 10_000
    assert golden_rows({"x": np.zeros((100, 4))}) == 64


@pytest.mark.parametrize(
    ("sample", "inputs", "words"),
    [
        ({"a": np.ones(3), "c": np.ones(3)}, (B, A), "the model takes b, a; the sample has a, c"),
        ({"a": np.ones(3)}, (B, A), "the model takes b, a; the sample has a"),
        (np.ones((3, 2)), (B, A), "the sample is one array without a name"),
        ({"rate": np.array([1.5])}, (RATE,), "input rate takes INT64, the sample holds 1.5 at [0]"),
        ({"rate": np.array([np.nan])}, (RATE,), "input rate takes INT64, the sample holds nan"),
        ({"a": np.array(["x"])}, (A,), "input a takes FP32, the sample holds <U1"),
        ({"sound": np.ones((4, 8)), "state": np.ones((2, 4, 4))}, (SOUND, STATE), "give every array one axis more"),
        ({"sound": np.ones((4, 1, 8)), "state": np.ones((2, 1, 4))}, (SOUND, STATE), "all of the same rank"),
        (np.ones((2, 2, 2, 2)), (SOUND,), "the model takes sound [-1, 8]; the sample has sound [2, 2, 2, 2]"),
    ],
)
def test_names_that_do_not_match_are_refused_with_both_lists(
    sample: Any, inputs: tuple[Tensor, ...], words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        match_sample(sample, inputs)
    assert (caught.value.code, words in caught.value.detail) == (Code.SAMPLE_INVALID, True), caught.value.detail


def test_one_matrix_takes_columns_in_their_order_with_their_names() -> None:
    matched = match_sample({"t": np.ones(3), "p": np.zeros(3)}, (Tensor(name="X", datatype="FP32", shape=(-1, 2)),))
    assert (matched.columns, matched.arrays["X"].tolist()) == (("t", "p"), [[1.0, 0.0]] * 3)
    assert match_sample(np.ones((3, 8)), (SOUND,)).columns == tuple(f"x{at}" for at in range(8))


@pytest.mark.parametrize(
    "sample",
    [
        np.ones((2, 3, 4, 5), np.float32),
        {"sound": np.ones((2, 8)), "rate": np.array(16_000), "text": np.array(["a", "süd"])},
    ],
)
def test_samples_of_any_rank_are_sent(sample: Any) -> None:
    back = decode_sample(encode_sample(sample))
    if isinstance(sample, dict):
        assert isinstance(back, dict)
        assert all(np.array_equal(back[name], array) for name, array in sample.items())
    else:
        assert np.array_equal(back, sample)


def test_a_file_of_named_arrays_is_a_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "sample.npz", sound=np.ones((2, 1, 8)), rate=np.array([1, 2]))
    back = decode_sample(encode_rows(_rows(tmp_path / "sample.npz")))
    assert isinstance(back, dict)
    assert {name: array.shape for name, array in back.items()} == {"sound": (2, 1, 8), "rate": (2,)}


def test_an_estimator_accepts_no_pictures() -> None:
    from sklearn.linear_model import LogisticRegression

    from edgeward.encode import encode_model

    kind, raw = encode_model(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    with pytest.raises(BadInput, match="an estimator takes rows as a 2-D array"):
        asyncio.run(convert_bytes(kind, raw, encode_rows(np.ones((3, 4, 5))), LIMITS))
