"""Messages of a device whose every number is as extreme as decoding allows, or a little more: drawn from the types."""

import json
import random
from functools import lru_cache
from typing import Any

from msgspec import inspect

from contract import topics
from contract.captured import Captured
from contract.messages import Heartbeat, Report, Telemetry

KINDS = {
    Telemetry: topics.telemetry, Heartbeat: topics.heartbeat, Report: topics.report, Captured: topics.captured,
}  # fmt: skip
WILD = (-1, 0, 1, 2**53, 2**63, 2**64 - 1, -(2**63), 1.7e308, -1.7e308, 1e-308, 253_402_300_799, "", "\u0000", None)
TEXTS = ("", "x", "other", "_at", "_label", "a", "b", "site=x", "1", "nan", "-", "[/x]", "é" * 60, "x" * 200)
MOST_PARTS = 6
"""Entries of a list or a table: each is drawn by itself."""


class Drawn:
    """What one device sends, by one seed."""

    def __init__(self, device: str, seed: int, known: dict[str, tuple[Any, ...]]) -> None:
        self._device, self._random, self._known, self._seq = device, random.Random(seed), known, 0

    def message(self) -> tuple[str, bytes]:
        """Returns (topic, bytes) of the next message."""
        kind = self._random.choice((Telemetry, Telemetry, Captured, Heartbeat, Report))
        self._seq += 1
        plain = self._struct(kind)
        plain |= {"protocol": 1, "device": self._device, "seq": self._seq, "boot": 1 + self._seq // 50, "signature": ""}
        return KINDS[kind](self._device), json.dumps(plain).encode()

    def _struct(self, kind: Any) -> dict[str, Any]:
        found = {}
        for field in _fields(kind):
            if field.required or self._random.random() < 0.8:
                found[field.encode_name] = self._value(field.encode_name, field.type)
        return found

    def _value(self, name: str, kind: Any) -> Any:
        chance = self._random.random()
        if name in self._known and chance < 0.95:
            return self._random.choice(self._known[name])
        if chance < 0.03:
            return self._random.choice(WILD)
        if isinstance(kind, inspect.IntType | inspect.FloatType):
            return self._number(kind)
        if isinstance(kind, inspect.UnionType):
            return self._value("", self._random.choice(kind.types))
        if isinstance(kind, inspect.VarTupleType | inspect.DictType):
            return self._several(kind)
        return self._struct(kind.cls) if isinstance(kind, inspect.StructType) else self._random.choice(_plain(kind))

    def _several(self, kind: Any) -> Any:
        if isinstance(kind, inspect.VarTupleType):
            return [self._value("", kind.item_type) for _ in range(self._parts(kind))]
        return {each: self._value("", kind.value_type) for each in self._random.sample(TEXTS, self._parts(kind))}

    def _parts(self, kind: Any) -> int:
        least, most = kind.min_length or 0, kind.max_length or MOST_PARTS
        return max(least, self._random.randint(0, min(most, MOST_PARTS)))

    def _number(self, kind: Any) -> float:
        """An end of the range, beside it, or a number that an honest device might send."""
        ends = [each for each in (kind.ge, kind.le) if each is not None] or [-1.7e308, 1.7e308]
        end = self._random.choice(ends)
        number = self._random.choice((end, end, end / 2, -end, 0, 1, 7, self._random.randint(0, 1000)))
        return int(number) if isinstance(kind, inspect.IntType) else float(number)


@lru_cache
def _fields(kind: Any) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found.fields


def _plain(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, inspect.LiteralType):
        return tuple(kind.values)
    return {inspect.StrType: TEXTS, inspect.BoolType: (True, False)}.get(type(kind), (None,))
