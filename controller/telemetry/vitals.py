"""The vitals of a fleet in one SQLite file: a row for each device and five minutes, by the hour if they are older.

Decides how rows age: five minutes become hours after 26 hours, hours are deleted after five weeks, or sooner if the
file is too large. A repeated row is stored once. Refuses to know what a figure means.

Commits are not synced one by one: vitals are not promised to be durable, and a power cut loses seconds of them.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from controller.fleet.vitals import FIGURES, SPAN_S, Vitals, VitalsRows, merged
from controller.registry.database import open_database, transaction
from controller.rollout.rows import HOUR_S

FINE_S = 26 * HOUR_S
"""A day is shown by five minutes, including the hour that was open at its beginning."""
KEEP_S = 35 * 24 * HOUR_S
"""Five weeks: enough to know what is usual for a device at an hour of its week, with one spare week."""
MAX_MB = 4096
"""If it is larger, hours are deleted sooner: a row takes 117 bytes, so 26 hours of 100,000 devices by five minutes
take 3,700 MB, and five weeks of hours of 10,000 devices 1,000 MB."""
DEVICES_AT_ONCE = 50
"""Devices whose rows age in one pass: about 600 rows, 10 ms; 100,000 devices in half an hour."""
SHORTER = 0.8
"""A file that is too large keeps four fifths of the time that it kept, and is checked again an hour later."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vitals (device TEXT NOT NULL, span INTEGER NOT NULL, start INTEGER NOT NULL,
    messages INTEGER NOT NULL, figures BLOB NOT NULL, PRIMARY KEY (device, span, start)) WITHOUT ROWID;
"""
_PUT = """
INSERT INTO vitals VALUES (?, ?, ?, ?, ?) ON CONFLICT (device, span, start)
    DO UPDATE SET messages = excluded.messages, figures = excluded.figures WHERE excluded.messages > messages
"""
_READ = "SELECT device, span, start, messages, figures FROM vitals WHERE device = ? AND start >= ? ORDER BY start"
_numbers = struct.Struct(f"<{3 * len(FIGURES)}f")


class VitalsStore:
    """One SQLite file in WAL mode, one writer."""

    def __init__(self, path: Path, max_mb: int = MAX_MB) -> None:
        self.path = path
        self._db = open_database(path, _SCHEMA)
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._max_bytes, self._keep_s = max_mb * 1_000_000, KEEP_S
        self._after, self._aged_to = "", 0.0

    def keep(self, rows: Iterable[tuple[str, Vitals]]) -> None:
        """Stores (device, vitals); of two rows for one interval the one with more messages. WorldError `disk_full`."""
        with transaction(self._db):
            self._db.executemany(_PUT, (_row(device, vitals) for device, vitals in rows))

    def series(self, device: str, since: float) -> list[Vitals]:
        """Returns the vitals of a device from a time on, oldest first."""
        return [vitals for _, vitals in map(_read, self._db.execute(_READ, (device, since)))]

    def heard(self, device: str, since: float) -> list[tuple[float, float]]:
        """Returns (start, seconds) of the intervals in which a device sent telemetry, from a time on, oldest first."""
        rows = "SELECT start, span FROM vitals WHERE device = ? AND start >= ? ORDER BY start"
        return [(float(start), float(span)) for start, span in self._db.execute(rows, (device, since))]

    def drop(self, device: str) -> None:
        """Removes all vitals of a device."""
        with transaction(self._db):
            self._db.execute("DELETE FROM vitals WHERE device = ?", (device,))

    def tend(self, now: float) -> None:
        """Merges or deletes a few old rows: a pass calls it, and the next pass continues."""
        before = (now - FINE_S) // HOUR_S * HOUR_S
        if before <= self._aged_to:
            return
        wanted = "SELECT DISTINCT device FROM vitals WHERE device > ? ORDER BY device LIMIT ?"
        devices = [device for (device,) in self._db.execute(wanted, (self._after, DEVICES_AT_ONCE))]
        with transaction(self._db):
            for device in devices:
                self._age(device, before, now)
        self._after = devices[-1] if len(devices) == DEVICES_AT_ONCE else ""
        if not self._after:
            self._aged_to = before
            too_large = self.size_bytes() > self._max_bytes
            self._keep_s = max(FINE_S, self._keep_s * SHORTER) if too_large else self._keep_s

    def size_bytes(self) -> int:
        """Returns the bytes that the rows take."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, page = (int(self._db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
        return (pages - free) * page

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def _age(self, device: str, before: float, now: float) -> None:
        """Merges five minutes before `before` into hours, and deletes the oldest hours."""
        fine = "FROM vitals WHERE device = ? AND span = ? AND start < ?"
        found = self._db.execute(f"SELECT device, span, start, messages, figures {fine}", (device, SPAN_S, before))
        rows = [vitals for _, vitals in map(_read, found)]
        for hour, group in groupby(rows, lambda row: row.start // HOUR_S * HOUR_S):
            self._db.execute(_PUT, _row(device, merged(list(group), hour, HOUR_S)))
        self._db.execute(f"DELETE {fine}", (device, SPAN_S, before))
        self._db.execute(f"DELETE {fine}", (device, HOUR_S, now - self._keep_s))


def read_vitals(path: Path, devices: Iterable[str], since: float) -> Iterator[VitalsRows]:
    """Returns the vitals of each device from a time on, oldest first, by its own connection while others write."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for device in devices:
            rows = database.execute(_READ, (device, since)).fetchall()
            starts, messages = (np.array([row[place] for row in rows], float) for place in (2, 3))
            figures = np.frombuffer(b"".join(row[4] for row in rows), "<f4").reshape(-1, 3, len(FIGURES))
            yield VitalsRows(device, starts, messages, figures)
    finally:
        database.close()


def _row(device: str, vitals: Vitals) -> tuple[str, int, int, int, bytes]:
    figures = _numbers.pack(*vitals.means, *vitals.lows, *vitals.highs)
    return device, int(vitals.span_s), int(vitals.start), vitals.messages, figures


def _read(row: tuple[str, int, int, int, bytes]) -> tuple[str, Vitals]:
    device, span, start, messages, figures = row
    numbers, count = _numbers.unpack(figures), len(FIGURES)
    kept = (numbers[:count], numbers[count : 2 * count], numbers[2 * count :])
    return device, Vitals(float(start), float(span), messages, *kept)
