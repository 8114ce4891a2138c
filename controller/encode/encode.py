"""Encodes an artifact as one stream of segments: copies from a base, changes to it, or new bytes.

Decides the form of each segment: the one whose beginning packs smallest. Refuses to know which pairs of versions are
worth encoding.
"""

import zlib
from collections.abc import Iterator

import numpy as np

from contract.encoding import HEADER, MAX_SEGMENT_BYTES, Kind, changed, pack, reorder
from controller.encode.match import Bytes, Copy, find_copies

TRY_BYTES = 1 << 16
"""The bytes at the beginning of a segment on which each form is tried."""
LANES = (1, 2, 4, 8)


def encode_artifact(target: bytes, base: bytes = b"") -> bytes:
    """Returns `target` encoded in fewer bytes, for a device that has `base`; without `base` for any device."""
    return pack(segments(target, base))


def segments(target: bytes, base: bytes) -> Iterator[bytes]:
    """Yields segments, each a header with its bytes, in the order of the target."""
    new, old = (np.frombuffer(data, np.uint8) for data in (target, base))
    at, expected = 0, 0
    for copy in (*find_copies(old, new), Copy(len(target), len(base), 0)):
        aligned = copy.target_at - at == copy.base_at - expected
        yield from _gap(new[at : copy.target_at], old[expected : copy.base_at] if aligned else old[:0], expected)
        for start in range(0, copy.length, MAX_SEGMENT_BYTES):
            size = min(MAX_SEGMENT_BYTES, copy.length - start)
            yield HEADER.pack(Kind.COPY, 1, copy.base_at + start, size)
        at, expected = copy.target_at + copy.length, copy.base_at + copy.length


def _gap(new: Bytes, old: Bytes, base_at: int) -> Iterator[bytes]:
    """Yields segments for bytes that are no copy. `old` are the bytes of the base at the same place; empty: unknown."""
    for at in range(0, len(new), MAX_SEGMENT_BYTES):
        data, beside = (side[at : at + MAX_SEGMENT_BYTES].tobytes() for side in (new, old))
        yield _smallest(data, beside, base_at + at)


def _smallest(data: bytes, beside: bytes, before: int) -> bytes:
    """Returns one segment in the form whose beginning packs smallest."""
    forms: list[tuple[Kind, bytes]] = [(Kind.NEW, data)]
    if len(beside) == len(data):
        forms.append((Kind.CHANGED, changed(data, beside)))
    choices = [(kind, lanes, plain) for kind, plain in forms for lanes in LANES]
    kind, lanes, plain = min(choices, key=lambda choice: _packed(choice[2], choice[1]))
    return HEADER.pack(kind, lanes, before if kind == Kind.CHANGED else 0, len(data)) + reorder(plain, lanes)


def _packed(plain: bytes, lanes: int) -> int:
    return len(zlib.compress(reorder(plain[:TRY_BYTES], lanes), 1))
