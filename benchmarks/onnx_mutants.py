"""Mutants of ONNX models that keep the structure of protobuf, because only a valid file can hide something from a scan.

A model is parsed into fields, one to three fields are changed, and all lengths are corrected. Half of the mutants
contain something that no model may hold, written with one of the possible spellings of a tag or number.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

MESSAGES = {
    "model": {7: "graph", 8: "operator set", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation"},
    "node": {5: "attribute", 9: "entry"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type"},
    "value": {2: "type"},
    "type": {1: "tensor type", 4: "sequence type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
}
"""The fields that hold messages, by message: the mutants change these inner messages too."""


def number(value: int, pad: int = 0) -> bytes:
    """Encodes a protobuf number. `pad` is the number of unnecessary bytes that are added."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    if not pad:
        return bytes([*out, value])
    return bytes([*out, value | 128, *[128] * (pad - 1), 0])


@dataclass
class Part:
    """One field: its tag as written, its wire type, and its value, which is bytes or further fields."""

    tag: bytes
    wire: int
    value: bytes | list["Part"]
    holds: str = ""
    pad: int = 0

    def write(self) -> bytes:
        """Returns the field as bytes, with the correct length."""
        if self.wire != 2:
            assert isinstance(self.value, bytes)
            return self.tag + self.value
        content = self.value if isinstance(self.value, bytes) else b"".join(part.write() for part in self.value)
        return self.tag + number(len(content), self.pad) + content


@dataclass
class Model:
    """A model as a list of fields."""

    parts: list[Part] = field(default_factory=list)

    def write(self) -> bytes:
        """Returns the model as bytes."""
        return b"".join(part.write() for part in self.parts)


def take_apart(raw: bytes, holds: str = "model") -> list[Part]:
    """Parses a valid message into fields, down to those that hold no message."""
    parts, at = [], 0
    while at < len(raw):
        key, start = _read(raw, at)
        tag, wire, inner = raw[at:start], key & 7, MESSAGES.get(holds, {}).get(key >> 3, "")
        if wire == 2:
            length, start = _read(raw, start)
            content, at = raw[start : start + length], start + length
            parts.append(Part(tag, wire, take_apart(content, inner) if inner in MESSAGES else content, inner))
        else:
            at = _read(raw, start)[1] if wire == 0 else start + (8 if wire == 1 else 4)
            parts.append(Part(tag, wire, raw[start:at]))
    return parts


def _read(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 128:
            return value, at


def _text(tag: int, content: bytes) -> tuple[int, bytes]:
    return tag << 3 | 2, number(len(content)) + content


_ENTRY = b"\x0a\x08location\x12\x0b/etc/shadow"
PLANTS: dict[str, list[tuple[int, bytes]]] = {
    "model": [_text(20, b""), _text(25, b"\x0a\x01f"), _text(26, b""), _text(7, b"\x0a\x04\x3a\x02xx")],
    "graph": [_text(15, b""), _text(1, b"\x3a\x03bad"), _text(5, b"\x6a\x02\x0a\x00"), _text(1, b"\x22\x01x")],
    "node": [_text(7, b"evil"), _text(8, b"o"), _text(10, b""), _text(5, b"\xb2\x01\x00"), _text(7, b"")],
    "attribute": [_text(22, b""), _text(23, b""), _text(21, b"a"), _text(5, b"\x70\x01"), _text(6, b"")],
    "tensor": [_text(13, _ENTRY), (14 << 3, b"\x01"), _text(3, b""), (14 << 3, b"\x81\x80\x80\x80\x10")],
    "operator set": [_text(1, b"evil"), _text(1, b"")],
    "type": [_text(7, b"\x0a\x01x"), _text(8, b"\x08\x01")],
    "tensor type": [_text(3, b"")],
}
"""(tag, value) by message: content that no model may hold, and repeated fields that a parser merges or takes instead of
the first one."""


def write_tag(tag: int, rng: random.Random) -> bytes:
    """Encodes a tag, correctly or in a form that a careless parser takes for another tag."""
    match rng.randrange(5):
        case 0:
            return number(tag | rng.randrange(1, 8) << 32)  # some parsers compare only the low 32 bits
        case 1:
            return number(tag, pad=rng.randint(1, 4))
        case 2:
            return number(tag | 1 << rng.randrange(3, 32))
        case _:
            return number(tag)


def mutant(original: bytes, rng: random.Random) -> bytes:
    """Returns `original` with one to three changes of its structure."""
    model = Model(take_apart(original))
    for _ in range(rng.randint(1, 3)):
        holds, parts = rng.choice(_messages("model", model.parts))
        rng.choice(CHANGES)(holds, parts, rng)
    return model.write()


def _messages(holds: str, parts: list[Part]) -> list[tuple[str, list[Part]]]:
    """Returns every message that can be changed. Messages that are still bytes are parsed first."""
    found = [(holds, parts)]
    for part in parts:
        if part.holds and isinstance(part.value, bytes):
            part.value = take_apart(part.value, part.holds)
        if part.holds and isinstance(part.value, list):
            found += _messages(part.holds, part.value)
    return found


def _plant(holds: str, parts: list[Part], rng: random.Random) -> None:
    tag, value = rng.choice(PLANTS.get(holds, [_text(rng.randint(1, 30), b"x")]))
    parts.insert(rng.randint(0, len(parts)), Part(write_tag(tag, rng), 0, value))


def _double(holds: str, parts: list[Part], rng: random.Random) -> None:
    if parts:
        parts.insert(rng.randint(0, len(parts)), replace(rng.choice(parts)))


def _drop(holds: str, parts: list[Part], rng: random.Random) -> None:
    if parts:
        parts.pop(rng.randrange(len(parts)))


def _rename(holds: str, parts: list[Part], rng: random.Random) -> None:
    """Gives the content another field number, wire type or spelling of the tag."""
    if parts:
        part = rng.choice(parts)
        part.tag = write_tag(rng.randint(1, 30) << 3 | part.wire, rng)


def _pad(holds: str, parts: list[Part], rng: random.Random) -> None:
    if parts:
        rng.choice(parts).pad = rng.randint(0, 3)


def _spoil(holds: str, parts: list[Part], rng: random.Random) -> None:
    """Changes one byte of a value that holds no message."""
    leaves = [part for part in parts if isinstance(part.value, bytes) and part.value]
    if leaves:
        part = rng.choice(leaves)
        spoilt = bytearray(part.value)  # type: ignore[arg-type]
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        part.value = bytes(spoilt)


CHANGES: list[Callable[[str, list[Part], random.Random], None]] = [
    _plant,
    _plant,
    _plant,
    _double,
    _drop,
    _rename,
    _pad,
    _spoil,
]
