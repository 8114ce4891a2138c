"""Shapes in the store: one row in few bytes, and reading the rows of a model while others write.

Decides the bytes, and how many devices are read. Refuses to know what shapes mean.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from contract.names import unit_number
from controller.drift.blocks import Row
from controller.drift.shape import Shape
from controller.telemetry.counts import packed

RECENT, MERGED = TABLES = ("recent_shapes", "merged_shapes")

_decode = msgspec.msgpack.Decoder(Shape).decode


def encoded_shape(shape: Shape) -> bytes:
    """Returns the counts as bytes, for `decoded_shape`."""
    return packed(shape)


def decoded_shape(counts: bytes) -> Shape:
    """Returns the counts in a row; what an earlier version did not count is empty."""
    return _decode(counts)


def added_shapes(rows: Iterable[bytes]) -> bytes:
    """Returns the sum of rows; for a single row its own bytes."""
    first, *others = rows
    if not others:
        return first
    total = decoded_shape(first)
    for each in others:
        total = total.plus(decoded_shape(each))
    return encoded_shape(total)


def read_shapes(path: Path, model: str, since: float, newest: float, most_devices: int) -> tuple[list[Row], int]:
    """Returns (rows of a model from `since` on, how many devices have rows after `newest`), by its own
    connection.

    Of more devices than `most_devices` only so many are read, chosen by a stable hash of their names: shapes of a
    fleet are similar, and a thread reads 100,000 rows in a second.
    """
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        there: set[str] = set()
        for table in TABLES:
            wanted = f"SELECT DISTINCT device FROM {table} WHERE model = ? AND start >= ?"
            there |= {device for (device,) in database.execute(wanted, (model, newest))}
        read = set(sorted(there, key=unit_number)[:most_devices])
        found = []
        for table in TABLES:
            wanted = f"SELECT device, release, start, counts FROM {table} WHERE model = ? AND start >= ?"
            for device, release, start, counts in database.execute(wanted, (model, since)):
                if device in read:
                    found.append((device, release, float(start), decoded_shape(counts)))
        return found, len(there)
    finally:
        database.close()
