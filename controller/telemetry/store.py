"""The telemetry of a fleet in one SQLite file: a row of sums and a row of shapes for each device, version and interval.

Decides that a repeated row is stored once, and how rows age: minutes become hours after two hours, hours become days
after five weeks, days are deleted after a year. Rows of a device can be removed; the rest equals that of a fleet which
never had it. Refuses to know the meaning of rows for a release.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec

from controller.drift.shape import Shape, shape_of
from controller.fleet.heard import MAX_BOOTS, MAX_OVER, Heard
from controller.registry.database import open_database, transaction
from controller.rollout.facts import Sums
from controller.rollout.rows import HOUR_S, RECENT_S
from controller.telemetry.counts import Counted, added, decoded, encoded
from controller.telemetry.shapes import MERGED, RECENT, added_shapes, decoded_shape, encoded_shape

DAY_S = 86_400.0
KEEP_HOURS_S = 35 * DAY_S
"""Hours show the phase of a week; five of each are enough for a comparison."""
DEVICES_AT_ONCE = 50
"""Devices whose minutes become hours in one pass: about 6,000 rows, 30 ms."""
ROWS_AT_ONCE = 2_000
"""Hours that become days, and days that are deleted, in one pass."""

_log = logging.getLogger("edgeward.controller")

CACHE_KB = 65_536
"""Pages of the newest two hours of 5,000 devices: rows arrive in the order of time and are stored in the order of
devices."""
CHECKPOINT_PAGES = 16_000
"""Pages of 4 kB that are written before they are moved into the file: 64 MB, so each moves once for many rows."""

_TABLES = """
CREATE TABLE IF NOT EXISTS {recent} (device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    model TEXT NOT NULL, release INTEGER NOT NULL, start INTEGER NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (device, boot, seq, model, release, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {merged} (model TEXT NOT NULL, span INTEGER NOT NULL, start INTEGER NOT NULL,
    device TEXT NOT NULL, release INTEGER NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (model, span, start, device, release)) WITHOUT ROWID;
"""
_OTHERS = """
CREATE TABLE IF NOT EXISTS heard (device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (device, boot));
CREATE TABLE IF NOT EXISTS verdicts (rollout TEXT NOT NULL, at REAL NOT NULL, rule INTEGER NOT NULL,
    stratum TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS verdicts_of ON verdicts (rollout, at);
"""
_HEARD = "INSERT INTO heard VALUES (?, ?, ?) ON CONFLICT (device, boot) DO UPDATE SET seq = max(seq, excluded.seq)"

_FORGET = """
DELETE FROM heard WHERE device = ? AND rowid NOT IN (
    SELECT rowid FROM heard WHERE device = ? ORDER BY rowid DESC LIMIT ?)
"""

Key = tuple[str, int, int, str, int]
"""(model, span, start, device, release)"""
MessageKey = tuple[str, int, int, str, int, int]
"""(device, boot, seq, model, release, start)"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is stored of one kind: as it came, and merged into hours and days."""

    recent: str
    merged: str
    added: Callable[[Iterable[bytes]], bytes]


_SUMS = _Kind("recent", "merged", added)
_SHAPES = _Kind(RECENT, MERGED, added_shapes)
_KINDS = (_SUMS, _SHAPES)
_SCHEMA = "".join(_TABLES.format(recent=kind.recent, merged=kind.merged) for kind in _KINDS) + _OTHERS


class TelemetryStore:
    """One SQLite file in WAL mode with full syncs, one writer."""

    def __init__(self, path: Path, keep_days: int = 400, max_mb: int = 4096) -> None:
        self.path = path
        self._db = open_database(path, _SCHEMA)
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._keep_s, self._max_bytes = keep_days * DAY_S, max_mb * 1_000_000
        self._after = ""
        """The device after which minutes are merged next."""
        self._rolled_to = 0.0

    def keep(self, measured: Sequence[Counted]) -> None:
        """Makes rows durable in one transaction; an existing row stays. WorldError `disk_full`."""
        sums: dict[MessageKey, bytes] = {}
        shapes: dict[MessageKey, bytes] = {}
        for each in measured:
            interval = each.interval
            key = (each.device, each.boot, each.seq, interval.model, interval.version.release, each.start)
            before, counts = sums.get(key), encoded(interval)
            sums[key] = counts if before is None else added((before, counts))
            if not (shape := shape_of(interval)).is_empty:
                met, counts = shapes.get(key), encoded_shape(shape)
                shapes[key] = counts if met is None else added_shapes((met, counts))
        with transaction(self._db):
            for kind, rows in zip(_KINDS, (sums, shapes), strict=True):
                insert = f"INSERT OR IGNORE INTO {kind.recent} VALUES (?, ?, ?, ?, ?, ?, ?)"
                self._db.executemany(insert, [(*key, counts) for key, counts in rows.items()])

    def past(
        self, model: str, since: float, devices: Collection[str] | None = None
    ) -> Iterator[tuple[str, int, float, Sums]]:
        """Returns (device, release, start, sums) of a model from a time on, merged rows first; None: of all devices."""
        for device, release, start, counts in self._rows(_SUMS, model, since, devices):
            yield device, release, start, decoded(counts)

    def shapes(self, model: str, since: float) -> Iterator[tuple[str, int, float, Shape]]:
        """Returns (device, release, start, shape) of a model from a time on, merged rows first."""
        for device, release, start, counts in self._rows(_SHAPES, model, since):
            yield device, release, start, decoded_shape(counts)

    def _rows(
        self, kind: _Kind, model: str, since: float, devices: Collection[str] | None = None
    ) -> Iterator[tuple[str, int, float, bytes]]:
        wanted = "SELECT device, release, start, counts FROM {} WHERE model = ? AND start >= ?"
        asked: tuple[object, ...] = (model, since)
        if devices is not None:
            wanted += " AND device IN (SELECT value FROM json_each(?))"
            asked = (*asked, json.dumps(list(devices)))
        for table in (kind.merged, kind.recent):
            for device, release, start, counts in self._db.execute(wanted.format(table), asked):
                yield device, release, float(start), counts

    def past_of_device(
        self, device: str, model: str, since: float, until: float, marks: Collection[float] = ()
    ) -> list[tuple[str, int, float, Sums]]:
        """Returns (device, release, start, sums) of one device by the hour, and by the minute in the newest two hours.

        `marks`: times within hours at which rows begin as well. It takes one lookup per hour, for a fleet of any size.
        """
        first = int(since // HOUR_S * HOUR_S)
        starts = sorted({*range(first, int(until) + 1, int(HOUR_S)), *(int(mark) for mark in marks if mark >= since)})
        columns = "SELECT device, release, start, counts"
        merged = f"{columns} FROM merged WHERE model = ? AND span = ? AND start = ? AND device = ?"
        recent = f"{columns} FROM recent WHERE device = ? AND model = ? AND start >= ?"
        rows = [
            row for start in starts for row in self._db.execute(merged, (model, int(HOUR_S), start, device)).fetchall()
        ]
        rows += self._db.execute(recent, (device, model, since)).fetchall()
        return [(name, release, float(start), decoded(counts)) for name, release, start, counts in rows]

    def heard(self) -> dict[str, Heard]:
        """Returns by device the messages in the store, so that a repeated message is not counted."""
        found: dict[str, Heard] = {}
        for device, boot, seq in self._db.execute("SELECT device, boot, seq FROM heard ORDER BY rowid"):
            found[device] = found.get(device, Heard()).up_to(boot, seq)
        recent = "SELECT DISTINCT device, boot, seq, start FROM recent ORDER BY start, seq"
        for device, boot, seq, _ in self._db.execute(recent):
            found[device] = found.get(device, Heard()).then(boot, seq)[0]
        return found

    def drop(self, device: str) -> None:
        """Removes everything that a device has measured. Its messages still count as received, so that they are not
        counted again.
        """
        with transaction(self._db):
            for boot, seq in self._db.execute(
                "SELECT boot, max(seq) FROM recent WHERE device = ? GROUP BY boot", (device,)
            ).fetchall():
                self._db.execute(_HEARD, (device, boot, seq))
            for table in (name for kind in _KINDS for name in (kind.recent, kind.merged)):
                self._db.execute(f"DELETE FROM {table} WHERE device = ?", (device,))

    def tend(self, now: float, marks: Collection[float] = ()) -> None:
        """Merges or deletes a few old rows: a pass calls it, and the next pass continues.

        No row then spans one of the `marks`: the beginnings of open rollouts.
        """
        before = (now - RECENT_S) // HOUR_S * HOUR_S
        if before > self._rolled_to:
            with transaction(self._db):
                self._after = self._roll_up(before, marks)
            if not self._after:
                self._rolled_to = before
                self._age(now)
                self._shrink()

    def size_bytes(self) -> int:
        """Returns the bytes that the rows take."""
        pages, free, page = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * page

    def oldest(self) -> float | None:
        """Returns when the oldest row begins, in seconds since 1970; None without any."""
        starts = (self._db.execute(f"SELECT min(start) FROM {table}").fetchone()[0] for table in ("merged", "recent"))
        return min((float(start) for start in starts if start is not None), default=None)

    def keep_verdicts(self, points: Iterable[tuple[str, float, int, str, bytes]]) -> None:
        """Appends (rollout, seconds since 1970, index of the rule, stratum, verdict as JSON). WorldError
        `disk_full`."""
        with transaction(self._db):
            self._db.executemany("INSERT INTO verdicts VALUES (?, ?, ?, ?, ?)", points)

    def verdicts(self, rollout: str) -> list[tuple[float, bytes]]:
        """Returns (when, verdict as JSON) of a rollout, oldest first."""
        return self._db.execute("SELECT at, body FROM verdicts WHERE rollout = ? ORDER BY at", (rollout,)).fetchall()

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def _roll_up(self, before: float, marks: Collection[float]) -> str:
        """Merges minutes of the next few devices into hours; returns the last of them, or "" after the last device."""
        wanted = "SELECT DISTINCT device FROM recent WHERE device > ? ORDER BY device LIMIT ?"
        devices = [device for (device,) in self._db.execute(wanted, (self._after, DEVICES_AT_ONCE))]
        for device in devices:
            heard = self._db.execute(
                "SELECT device, boot, max(seq) FROM recent WHERE device = ? AND start < ? GROUP BY boot",
                (device, before),
            ).fetchall()
            self._db.executemany(_HEARD, heard)
            self._db.execute(_FORGET, (device, device, MAX_BOOTS + MAX_OVER))
            for kind in _KINDS:
                self._merge_minutes(kind, device, before, marks)
        return devices[-1] if len(devices) == DEVICES_AT_ONCE else ""

    def _merge_minutes(self, kind: _Kind, device: str, before: float, marks: Collection[float]) -> None:
        rows = self._db.execute(
            f"SELECT model, release, start, counts FROM {kind.recent} WHERE device = ? AND start < ?", (device, before)
        ).fetchall()
        keyed = [
            ((model, int(HOUR_S), hour_of(start, marks), device, release), counts)
            for model, release, start, counts in rows
        ]
        self._add(kind, keyed)
        self._db.execute(f"DELETE FROM {kind.recent} WHERE device = ? AND start < ?", (device, before))

    def _add(self, kind: _Kind, keyed: Iterable[tuple[Key, bytes]]) -> None:
        """Adds counts to merged rows."""
        for key, group in groupby(sorted(keyed), lambda pair: pair[0]):
            known = self._db.execute(
                f"SELECT counts FROM {kind.merged} "
                "WHERE model = ? AND span = ? AND start = ? AND device = ? AND release = ?",
                key,
            ).fetchone()
            try:
                counts = kind.added([*(known or ()), *(counts for _, counts in group)])
            except (ArithmeticError, ValueError, msgspec.MsgspecError) as error:  # such rows cost themselves alone
                _log.warning("rows of %s, %s v%d, cannot be merged and are left out: %s", key[3], key[0], key[4], error)
                continue
            self._db.execute(f"INSERT OR REPLACE INTO {kind.merged} VALUES (?, ?, ?, ?, ?, ?)", (*key, counts))

    def _age(self, now: float) -> None:
        """Merges old hours into days, and deletes the oldest days."""
        with transaction(self._db):
            for model in self.models():
                for kind in _KINDS:
                    self._age_hours(kind, model, now)
            self._db.execute("DELETE FROM verdicts WHERE at < ?", (now - self._keep_s,))

    def _age_hours(self, kind: _Kind, model: str, now: float) -> None:
        wanted = f"FROM {kind.merged} WHERE model = ? AND span = ? AND start < ?"
        old = (model, int(HOUR_S), now - KEEP_HOURS_S)
        rows = self._db.execute(
            f"SELECT start, device, release, counts {wanted} ORDER BY start LIMIT ?",
            (*old, ROWS_AT_ONCE),
        ).fetchall()
        self._add(
            kind,
            (
                ((model, int(DAY_S), int(start // DAY_S * DAY_S), device, release), counts)
                for start, device, release, counts in rows
            ),
        )
        gone = [(model, int(HOUR_S), start, device, release) for start, device, release, _ in rows]
        self._db.executemany(
            f"DELETE FROM {kind.merged} WHERE model = ? AND span = ? AND start = ? AND device = ? AND release = ?",
            gone,
        )
        self._db.execute(f"DELETE {wanted}", (model, int(DAY_S), now - self._keep_s))

    def _shrink(self) -> None:
        """Deletes the oldest merged rows if the file is too large."""
        if self.size_bytes() > self._max_bytes:
            with transaction(self._db):
                edge = self._db.execute(
                    "SELECT start FROM merged ORDER BY start LIMIT 1 OFFSET (SELECT count(*) / 10 FROM merged)"
                ).fetchone()
                if edge is not None:
                    for kind in _KINDS:
                        self._db.execute(f"DELETE FROM {kind.merged} WHERE start <= ?", edge)

    def models(self) -> list[str]:
        """Models with merged or recent rows."""
        found = self._db.execute("SELECT DISTINCT model FROM merged UNION SELECT DISTINCT model FROM recent").fetchall()
        return sorted(model for (model,) in found)


def hour_of(start: int, marks: Collection[float]) -> int:
    """Returns the hour of a minute, or the last of the marks in that hour that does not come after the minute."""
    passed = [int(mark) for mark in marks if mark <= start]
    return max([int(start // HOUR_S * HOUR_S), *passed])
