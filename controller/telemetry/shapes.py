"""One row of shapes in the store: what one device's version met and answered, as few bytes.

Decides the bytes. Refuses to know files.
"""

from collections.abc import Iterable

import msgspec

from controller.drift.shape import Shape

_decode = msgspec.msgpack.Decoder(Shape).decode


def encoded_shape(shape: Shape) -> bytes:
    """The counts as bytes, for `decoded_shape`."""
    return msgspec.msgpack.encode(shape)


def decoded_shape(counts: bytes) -> Shape:
    """The counts in a row; what an earlier version did not count is empty."""
    return _decode(counts)


def added_shapes(rows: Iterable[bytes]) -> bytes:
    """The sum of rows. Of a single one its own bytes."""
    first, *others = rows
    if not others:
        return first
    total = decoded_shape(first)
    for each in others:
        total = total.plus(decoded_shape(each))
    return encoded_shape(total)
