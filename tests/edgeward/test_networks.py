"""Live networks become ONNX in the client: the exporter that agrees for two numbers of rows is used, and its own
answers are what the controller compares with. The network here is one of a few lines, so no framework is needed.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from contract.answers.recorded import decode_recorded
from contract.errors import BadInput, Code
from controller.convert.runs import open_session
from controller.convert.tensor_parity import answers_are_of, tensor_parity
from controller.gates.parity import judge_parity
from edgeward.encode import encode_model
from edgeward.networks import exported
from edgeward.networks.network import Network, flat, network_of
from edgeward.networks.recorded import inputs_of, parts_of_network

PICTURES = np.random.default_rng(0).normal(size=(60, 2, 3, 3)).astype(np.float32)
WEIGHTS = np.arange(2, dtype=np.float32).reshape(1, 2, 1, 1) + 1


def onnx_of_pictures(rows: int | None = None, weights: Any = WEIGHTS) -> bytes:
    """Weighted means of pictures, for any number of rows or, wrongly, with a constant from `rows` of them."""
    nodes = [
        helper.make_node("Mul", ["X", "w"], ["z"]),
        helper.make_node("ReduceMean", ["z", "axes"], ["m"], keepdims=0),
    ]
    nodes += [helper.make_node("Mul", ["m", "extra"], ["answer"])]
    extra = np.ones(1 if rows is None else (rows, 1), dtype=np.float32)
    graph = helper.make_graph(
        nodes, "named by chance",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 2, 3, 3])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["rows", 2])],
        [
            numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(extra, "extra"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.graph.node[0].metadata_props.add(key="stack", value="/home/someone/secret.py")
    return bytes(model.SerializeToString())


class Pictures:
    """A network that answers weighted means of pictures, as a framework's would."""

    name, inputs, libraries = "Pictures", ("picture",), ("numpy",)
    batch: int | None = None

    def __init__(self, *exports: Callable[[], bytes]) -> None:
        self.exports = exports

    def typed(self, array: Any) -> Any:
        return array.astype(np.float32)

    def ask(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        if arrays["picture"].shape[1:] != (2, 3, 3):
            raise ValueError("not my pictures")
        return {"means": (arrays["picture"] * WEIGHTS).mean((2, 3))}

    def exporters(self) -> Iterator[tuple[str, Any]]:
        for number, export in enumerate(self.exports):
            yield f"exporter {number}", lambda few, export=export: export()


def failing() -> bytes:
    raise RuntimeError("no such operator")


def parts(network: Network, sample: Any = PICTURES) -> tuple[bytes, bytes]:
    return parts_of_network(network, sample, waived=False)


@pytest.fixture(autouse=True)
def _every_package_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "NEEDED", ("onnx", "onnxruntime"))


def test_the_first_exporter_that_agrees_for_two_numbers_of_rows_is_used() -> None:
    """The first fails, the second has written its two rows into the graph, the third has other weights."""
    wrong = [failing, lambda: onnx_of_pictures(rows=2), lambda: onnx_of_pictures(weights=2 * WEIGHTS)]
    with pytest.raises(BadInput) as caught:
        parts(Pictures(*wrong))
    assert caught.value.code == Code.CONVERSION_FAILED
    for words in (
        "no such operator",
        "exporter 1 answers 1 of 1 rows otherwise",
        "exporter 2 answers 1 of 1 rows otherwise",
        "Remedy: ",
    ):
        assert words in caught.value.detail
    raw, _ = parts(Pictures(*wrong, onnx_of_pictures))
    session = open_session(raw)
    assert [entry.name for entry in session.get_inputs()] == ["picture"]
    assert [entry.name for entry in session.get_outputs()] == ["means"]
    assert np.allclose(session.run(None, {"picture": PICTURES})[0], Pictures().ask({"picture": PICTURES})["means"])
    assert b"secret.py" not in raw


def parity_beside(raw: bytes, rows: bytes) -> Any:
    sample, recorded = decode_recorded(rows)
    session = open_session(raw)
    assert recorded is not None
    assert answers_are_of(recorded, session)
    return tensor_parity(session, {"picture": sample}, recorded, lambda rows: {"picture": rows}, alone=False)


def test_the_controller_compares_pictures_with_the_networks_own_answers() -> None:
    raw, rows = parts(Pictures(onnx_of_pictures))
    right = parity_beside(raw, rows)
    assert judge_parity(right).passed
    assert set(right.kinds) == {"boundary", "zero", "far out"}
    assert right.reference.endswith("where it was pushed")
    broken = raw.replace(WEIGHTS.tobytes(), (WEIGHTS + np.float32(0.01)).tobytes())
    found = parity_beside(broken, rows)
    assert not judge_parity(found).passed
    assert found.worst[0].row == "sample 0"


def test_a_network_that_refuses_its_sample_is_reported_before_anything_is_sent() -> None:
    for sample, words in (
        (PICTURES[:, :1], "not my pictures"),
        ({"photo": PICTURES}, "takes picture, the sample has photo"),
    ):
        with pytest.raises(BadInput, match=words) as caught:
            parts(Pictures(onnx_of_pictures), sample)
        assert caught.value.code == Code.SAMPLE_REFUSED
    with pytest.raises(BadInput) as caught:
        parts(Pictures(onnx_of_pictures), PICTURES[:3])
    assert caught.value.code == Code.SAMPLE_TOO_SMALL


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "NEEDED", ("onnx", "a_package_that_is_not_there"))
    with pytest.raises(BadInput, match=r"needs a_package_that_is_not_there: pip install 'edgeward\[torch\]'"):
        parts(Pictures(onnx_of_pictures))


def test_columns_become_the_matrix_of_a_network_with_one_input() -> None:
    columns = {"a": np.arange(3.0), "b": np.arange(3)}
    assert inputs_of(Pictures(), columns)["picture"].tolist() == [[0, 0], [1, 1], [2, 2]]


def test_answers_have_the_names_that_forward_returns() -> None:
    one = np.zeros((2, 1))
    assert list(flat(one)) == ["output"]
    assert list(flat((one, None, one))) == ["output_0", "output_2"]
    assert list(flat({"label": one, "hidden": None})) == ["label"]
    with pytest.raises(BadInput, match="no tensor"):
        flat({"label": [one]})


def test_an_object_that_is_not_a_network_is_passed_to_other_readers() -> None:
    for model in (b"onnx", "models:/weather@champion", object(), Pictures):
        assert network_of(model) is None


@pytest.mark.parametrize("name", ["net.pt", "net.keras", "trees.ubj"])
def test_a_file_of_a_framework_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(BadInput, match="load it where it was made, and pass"):
        encode_model(name)
