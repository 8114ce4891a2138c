"""The fields that an ONNX file may hold: each message with its allowed fields, by their exact tags.

Decides by a list of allowed fields: any other field is refused, including fields that a newer ONNX adds. Field numbers:
onnx/onnx.proto, IR version 14. Refuses to know which values a field may have: see `onnx_scan`.
"""

import re
from dataclasses import dataclass
from typing import Literal

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
Scalar = Literal["int", "float", "double", "text"]
_WIRES: dict[str, int] = {"int": VARINT, "float": FIXED32, "double": FIXED64}

NUMBER = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f]|[\x80-\xff]{9}\x01)"
"""A number in the shortest form, at most 64 bits, as every correct writer writes it."""
_VALUES = {VARINT: NUMBER, FIXED32: rb"(?s:.{4})", FIXED64: rb"(?s:.{8})"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    holds: str
    """A scalar, or the name of a message in MESSAGES."""
    repeated: bool = False
    noted: bool = False
    """True: the scan checks its value."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A field with one of its tags."""

    field: Field
    packed: re.Pattern[bytes] | None = None
    """The pattern that the whole content must match: many numbers in one field."""
    run: re.Pattern[bytes] | None = None
    """The pattern of the same field many times in a row, tag by tag. The scan passes all of them at once."""


def one(number: int, holds: str, *, noted: bool = False) -> Field:
    """Returns a field that may occur once.

    A parser merges two occurrences of such a field, and a check of each alone would miss the result.
    """
    return Field(number, holds, noted=noted)


def many(number: int, holds: str, *, noted: bool = False) -> Field:
    """Returns a field that may be repeated."""
    return Field(number, holds, repeated=True, noted=noted)


_TENSOR_TYPE = (one(1, "int"), one(2, "shape"))
MESSAGES: dict[str, tuple[Field, ...]] = {
    "model": (
        one(1, "int", noted=True), *(one(n, "text") for n in (2, 3, 4, 6)), one(5, "int"), one(7, "graph"),
        many(8, "operator set"), many(14, "entry"),
    ),
    "operator set": (one(1, "text", noted=True), one(2, "int", noted=True)),
    "graph": (
        many(1, "node"), one(2, "text"), many(5, "tensor"), one(10, "text"), *(many(n, "value") for n in (11, 12, 13)),
        many(14, "annotation"), many(16, "entry"),
    ),
    "node": (
        many(1, "text"), many(2, "text"), one(3, "text"), one(4, "text", noted=True), many(5, "attribute"),
        one(6, "text"), one(7, "text", noted=True), many(9, "entry"),
    ),
    "attribute": (
        one(1, "text"), one(2, "float"), one(3, "int"), one(4, "text"), one(5, "tensor"), one(6, "graph"),
        many(7, "float"), many(8, "int"), many(9, "text"), many(10, "tensor"), many(11, "graph"), one(13, "text"),
        one(14, "type"), many(15, "type"), one(20, "int", noted=True),
    ),
    "tensor": (
        many(1, "int", noted=True), one(2, "int", noted=True), many(4, "float"), many(5, "int"), many(6, "text"),
        many(7, "int"), one(8, "text"), one(9, "text"), many(10, "double"), many(11, "int"), one(12, "text"),
        one(14, "int", noted=True), many(16, "entry"),
    ),
    "value": (one(1, "text"), one(2, "type"), one(3, "text"), many(4, "entry")),
    "type": (
        one(1, "tensor type"), one(4, "sequence type"), one(5, "map type"), one(6, "text"), one(9, "sequence type"),
    ),
    "tensor type": _TENSOR_TYPE,
    "sequence type": (one(1, "type"),),
    "map type": (one(1, "int"), one(2, "type")),
    "shape": (many(1, "dimension"),),
    "dimension": (one(1, "int"), one(2, "text"), one(3, "text")),
    "annotation": (one(1, "text"), many(2, "entry")),
    "entry": (one(1, "text"), one(2, "text")),
}  # fmt: skip
"""The allowed fields of each message. A sequence and an optional value have the same encoding."""

FORBIDDEN = {
    ("model", 20): "training information",
    ("model", 25): "local functions",
    ("model", 26): "configurations of devices",
    ("graph", 15): "a sparse initializer",
    ("node", 8): "a call of an overloaded function",
    ("node", 10): "configurations of devices",
    ("attribute", 21): "a reference to an attribute of a function",
    ("attribute", 22): "a sparse attribute",
    ("attribute", 23): "a sparse attribute",
    ("tensor", 3): "a segment of a tensor",
    ("tensor", 13): "external data",
    ("type", 7): "an opaque type",
    ("type", 8): "a sparse type",
}
"""Fields that ONNX defines but no model here may hold, with their names for people."""


def _tagged(field: Field) -> dict[int, Tagged]:
    if field.holds not in _WIRES:
        return {field.number << 3 | BYTES: Tagged(field)}
    wire = _WIRES[field.holds]
    tag = field.number << 3 | wire
    if not field.repeated:
        return {tag: Tagged(field)}
    packed = re.compile(_VALUES[wire] + b"*+")
    run = None if field.noted else re.compile(b"(?:" + re.escape(bytes([tag])) + _VALUES[wire] + b")*+")
    return {tag: Tagged(field, run=run), field.number << 3 | BYTES: Tagged(field, packed=packed)}


TAGS: dict[str, dict[int, Tagged]] = {
    name: {tag: tagged for field in fields for tag, tagged in _tagged(field).items()}
    for name, fields in MESSAGES.items()
}
"""Fields by message and tag. The tags of repeated numbers all have one byte."""
