"""One row of the store: the measurements of one version on one device in one interval, in few bytes.

Decides the bytes, and that a count which no store can hold is stored as the largest one. Refuses to know files.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec

from contract.messages import ModelInterval
from controller.rollout.facts import BUCKET_S, Sums

MAX_STORED = 2**63 - 1
"""The largest count in a row: sums of counts that are larger stay there. Doubled, it is still a number of 64 bits."""

_fields = attrgetter(*Sums.__struct_fields__)


class Counted(msgspec.Struct, frozen=True):
    """The content of one telemetry message about one version."""

    device: str
    boot: int
    seq: int
    at: float
    """When it was measured, as far as the controller can tell: the time of arrival minus the age of late labels. In
    seconds since 1970."""
    interval: ModelInterval

    @property
    def start(self) -> int:
        """The minute in which it was measured, in seconds since 1970."""
        return int(self.at // BUCKET_S * BUCKET_S)


def encoded(sums: Sums | ModelInterval) -> bytes:
    """Returns the counts as bytes, for `decoded`."""
    return packed(_fields(sums))


def packed(counts: Any) -> bytes:
    """Returns the same as MessagePack, in which a number has 64 bits: a larger count becomes `MAX_STORED`."""
    try:
        return msgspec.msgpack.encode(counts)
    except OverflowError:
        return msgspec.msgpack.encode(_bounded(msgspec.to_builtins(counts)))


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value]
    return min(value, MAX_STORED) if isinstance(value, int) else value


def decoded(counts: bytes) -> Sums:
    """Returns the counts in a row. Fields of a later version are left out, and missing ones are 0."""
    values = msgspec.msgpack.decode(counts)
    known = zip(Sums.__struct_fields__, values, strict=False)
    return msgspec.convert(dict(known), Sums)


def added(rows: Iterable[bytes]) -> bytes:
    """Returns the sum of rows; for a single row its own bytes."""
    first, *others = rows
    if not others:
        return first
    total = decoded(first)
    for each in others:
        total = total.plus(decoded(each))
    return encoded(total)
