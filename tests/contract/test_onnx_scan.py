"""The scan of ONNX files compared with protobuf: protobuf finds nothing forbidden in what the scan passes."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from benchmarks.fuzz_scan import hunt
from benchmarks.onnx_models import originals
from benchmarks.onnx_mutants import Model, Part, number, take_apart
from benchmarks.onnx_truth import forbidden, parse
from contract.errors import BadInput, Code
from contract.onnx_fields import FORBIDDEN, MESSAGES
from contract.onnx_scan import scan_onnx

MUTANTS = 20_000


def test_a_model_that_passes_the_scan_contains_nothing_forbidden_when_protobuf_parses_it() -> None:
    found = hunt(MUTANTS, seed=7)
    assert found.escapes == []
    assert found.passed > MUTANTS / 20, "mutants that are all refused prove nothing"
    planted = set(found.held) - {"nothing", "no protobuf"}
    assert {"data_location", "FunctionProto", "TrainingInfoProto", "SparseTensorProto"} & planted
    assert len(planted) > 10


def test_the_reference_scan_finds_planted_faults() -> None:
    """A reference scan that finds nothing would pass every model."""
    for raw in originals():
        assert forbidden(parse(raw)) == ""
    planted = {
        "FunctionProto": b"\xca\x01\x00",
        "TrainingInfoProto": b"\xa2\x01\x00",
        "unknown fields in ModelProto": b"\xfa\x07\x01x",
        "domain": number(8 << 3 | 2) + b"\x06\x0a\x04evil",
        "external_data": b"\x3a\x04\x2a\x02\x6a\x00",
    }
    for words, more in planted.items():
        assert words in forbidden(parse(originals()[0] + more)), words


def first(parts: list[Part], holds: str) -> Part:
    return next(part for part in parts if part.holds == holds)


def graph_parts(model: Model) -> list[Part]:
    parts = first(model.parts, "graph").value
    assert isinstance(parts, list)
    return parts


def padded_tag(model: Model) -> None:
    part = first(model.parts, "graph")
    part.tag = number(7 << 3 | 2, pad=3)


def high_bits_in_a_tag(model: Model) -> None:
    first(model.parts, "graph").tag = number(7 << 3 | 2 | 1 << 32)


def padded_length(model: Model) -> None:
    first(model.parts, "graph").pad = 2


def graph_twice(model: Model) -> None:
    model.parts.append(first(model.parts, "graph"))


def name_twice(model: Model) -> None:
    graph_parts(model).extend([Part(b"\x12", 2, b"a"), Part(b"\x12", 2, b"b")])


def group(model: Model) -> None:
    graph_parts(model).append(Part(b"", 0, b"\x0b\x0c"))


def sixty_five_bits(model: Model) -> None:
    model.parts.append(Part(b"\x28", 0, b"\xff" * 9 + b"\x03"))


SPELLINGS: list[Callable[[Model], None]] = [
    padded_tag, high_bits_in_a_tag, padded_length, graph_twice, name_twice, group, sixty_five_bits,
]  # fmt: skip


@pytest.mark.parametrize("change", SPELLINGS, ids=lambda change: change.__name__)
def test_two_spellings_of_one_file_are_refused(change: Callable[[Model], None]) -> None:
    for raw in originals():
        model = Model(take_apart(raw))
        assert model.write() == raw
        change(model)
        with pytest.raises(BadInput) as caught:
            scan_onnx(model.write())
        assert caught.value.code == Code.MODEL_REFUSED


def test_every_valid_model_of_the_onnx_project_passes() -> None:
    """Node tests of onnx itself, written by several versions of protobuf; training operators are foreign here."""
    paths = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data").rglob("*.onnx"))
    if not paths:
        pytest.skip("this onnx comes without its test data")
    refused = {}
    for path in paths:
        try:
            scan_onnx(path.read_bytes())
        except BadInput as error:
            refused[path.parent.name] = error.detail
    assert len(paths) - len(refused) > 100
    assert all("ai.onnx.preview.training" in detail for detail in refused.values()), refused


def test_every_field_of_the_onnx_schema_is_either_allowed_or_forbidden() -> None:
    named = {
        "model": onnx.ModelProto, "operator set": onnx.OperatorSetIdProto, "graph": onnx.GraphProto,
        "node": onnx.NodeProto, "attribute": onnx.AttributeProto, "tensor": onnx.TensorProto,
        "value": onnx.ValueInfoProto, "type": onnx.TypeProto, "annotation": onnx.TensorAnnotation,
        "entry": onnx.StringStringEntryProto, "shape": onnx.TensorShapeProto,
    }  # fmt: skip
    for name, kind in named.items():
        ours = {field.number: field.repeated for field in MESSAGES[name]}
        theirs = {field.number: field.is_repeated for field in kind.DESCRIPTOR.fields}
        assert {number: theirs[number] for number in ours} == ours, name
        left = set(theirs) - set(ours)
        assert left == {number for message, number in FORBIDDEN if message == name}, name
