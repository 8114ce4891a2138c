"""Inferences that devices have captured, in an embedded SQL file. People read them, and retraining starts from them.

Decides that a batch is durable before it is acknowledged, and how many rows a model may have: the oldest are deleted.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from contract.captured import Captured, CapturedRow
from contract.erasure import Erasure
from contract.errors import BadInput, Code
from contract.wire import decode, encode
from controller.registry.database import open_database, transaction
from controller.registry.late_labels import SCHEMA as LABELS_SCHEMA
from controller.registry.late_labels import LateLabels
from controller.registry.late_labels import Refusing as RefusingLabels

_log = logging.getLogger("edgeward.captures")
MAX_ROWS_PER_MODEL = 1_000_000
MAX_ROWS_PER_QUERY = 10_000
PRUNED_PART = 1000
"""The fraction of a full model's rows that is deleted at once: finding the device with the most rows takes a third of a
second for a million."""
WITH_THE_ROW = 0.0
"""The time of a label that a device has sent, with its row or later: no person was asked for it."""
MAX_BOOTS_PER_DEVICE = 64
"""Starts of a device's agent whose newest batch is kept. Batches wait on flash while the agent restarts."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
                                     PRIMARY KEY (device, boot));
CREATE TABLE IF NOT EXISTS captured (id INTEGER PRIMARY KEY, model TEXT NOT NULL, device TEXT NOT NULL,
                                     body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS captured_model ON captured (model, id);
CREATE INDEX IF NOT EXISTS captured_device ON captured (model, device, id);
CREATE TABLE IF NOT EXISTS labelled (id INTEGER PRIMARY KEY, model TEXT NOT NULL, given_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS labelled_model ON labelled (model, given_at);
"""
_RECEIVE = """
INSERT INTO received VALUES (?, ?, ?) ON CONFLICT (device, boot) DO UPDATE SET seq = excluded.seq
WHERE excluded.seq > received.seq
"""
_FORGET = """
DELETE FROM received WHERE device = ? AND rowid NOT IN (
    SELECT rowid FROM received WHERE device = ? ORDER BY rowid DESC LIMIT ?)
"""

_ROW = "SELECT id, device, body FROM captured WHERE model = ? AND id = ?"
_ANSWERED = """
SELECT max(id), device FROM captured WHERE model = ? AND json_extract(CAST(body AS TEXT), '$.id') = ?
GROUP BY device ORDER BY 1 DESC LIMIT 2
"""
_NEWEST_DEVICES = """
SELECT device, count(*) FROM captured WHERE model = ? GROUP BY device ORDER BY 2, max(id) DESC LIMIT ?
"""
"""Devices with the fewest rows first: each then leaves the rest of its share to those that have more."""
_NEWEST_OF_DEVICE = "SELECT id, device, body FROM captured WHERE model = ? AND device = ? ORDER BY id DESC LIMIT ?"
_MOST = "SELECT device, COUNT(*) FROM captured WHERE model = ? GROUP BY device ORDER BY 2 DESC LIMIT 1"
_PRUNE = """
DELETE FROM captured WHERE id IN (SELECT id FROM captured WHERE model = ? AND device = ? ORDER BY id LIMIT ?)
"""


class Refusing(RefusingLabels, Protocol):
    """A deletion whose rows may be sent again."""

    def refuses(self, device: str, row: CapturedRow) -> bool:
        """Tells whether a row had to be deleted."""
        ...


class Captures:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path, max_rows_per_model: int = MAX_ROWS_PER_MODEL) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA + LABELS_SCHEMA)
        self._db.execute("PRAGMA secure_delete = ON")  # deleted rows are overwritten, because laws require it
        self._max_rows = max_rows_per_model
        self._late = LateLabels(self._db)
        self.refused: Sequence[Refusing] = ()
        """Deletions whose rows are left out if they come again."""

    def keep(self, batches: Iterable[tuple[str, Captured]]) -> None:
        """Makes each (device, batch) durable in one transaction. A batch that was stored before changes nothing.
        WorldError `disk_full`.

        Devices send in order, the next batch only after an acknowledgement: so the newest number of a start covers
        all earlier ones. The newest `MAX_BOOTS_PER_DEVICE` starts are kept.
        """
        models = set()
        with transaction(self._db):
            for device, batch in batches:
                if self._db.execute(_RECEIVE, (device, batch.boot, batch.seq)).rowcount:
                    self._db.execute(_FORGET, (device, device, MAX_BOOTS_PER_DEVICE))
                    wanted = [row for row in batch.rows if not any(each.refuses(device, row) for each in self.refused)]
                    self._insert(device, [self._late.joined(device, row) for row in wanted])
                    for number, row in self._late.take(device, batch.labels, self.refused):
                        self._set(number, row, WITH_THE_ROW)
                    models |= {row.model for row in batch.rows}
            for model in sorted(models):
                self._prune(model)

    def _insert(self, device: str, rows: Iterable[CapturedRow]) -> None:
        for row in rows:
            inserted = self._db.execute(
                "INSERT INTO captured (model, device, body) VALUES (?, ?, ?)", (row.model, device, encode(row))
            )
            if row.label is not None:
                note = (inserted.lastrowid, row.model, WITH_THE_ROW)
                self._db.execute("INSERT OR REPLACE INTO labelled VALUES (?, ?, ?)", note)

    def rows_of(self, model: str, after: int = 0, limit: int = 1000) -> list[tuple[int, str, CapturedRow]]:
        """Returns (id, device, row) of a model's rows with an id above `after`, oldest first; an empty list after the
        last one. Rows that cannot be read do not count: a page of them alone would look like the end.
        """
        found = self._db.execute(
            "SELECT id, device, body FROM captured WHERE model = ? AND id > ? ORDER BY id", (model, after)
        )
        return list(islice(_readable(found), min(limit, MAX_ROWS_PER_QUERY)))

    def every_row(self, model: str) -> list[tuple[int, str, CapturedRow]]:
        """Returns (id, device, row) of all of a model's rows, oldest first, by a connection of its own: any thread may
        call, and a million rows take seconds.
        """
        wanted = "SELECT id, device, body FROM captured WHERE model = ? ORDER BY id"
        database = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            return list(_readable(database.execute(wanted, (model,))))
        finally:
            database.close()

    def find(self, model: str, named: str) -> tuple[int, str, CapturedRow] | None:
        """Returns (id, device, row) of a model's row: `named` is its id, or the name of the answer on its device (the
        newest that has it). None if there is none. BadInput `request_invalid` if several devices have that answer: any
        device can give its own one that name.
        """
        number = int(named) if named.isascii() and named.isdigit() and len(named) < 16 else -1
        if (row := self._db.execute(_ROW, (model, number)).fetchone()) is not None:
            return next(_readable([row]), None)
        found = self._db.execute(_ANSWERED, (model, named)).fetchall()
        if len(found) > 1:
            words = f"{found[0][1]} and {found[1][1]} both have an answer {named[:64]!r}: name the row by its id"
            raise BadInput(Code.REQUEST_INVALID, f"{words}, {found[0][0]} or {found[1][0]}")
        return next(_readable([self._db.execute(_ROW, (model, found[0][0])).fetchone()]), None) if found else None

    def label(self, model: str, labels: Mapping[int, str | float], given_at: float) -> int:
        """Sets late labels of a model's rows, by id, in one transaction. Returns how many of these rows exist.

        `given_at` is in seconds since 1970: labels of people count towards the day's budget.
        """
        with transaction(self._db):
            found = {number: self._row(model, number) for number in labels}
            changed = {number: row for number, row in found.items() if row is not None}
            for number, row in changed.items():
                self._set(number, msgspec.structs.replace(row, label=labels[number]), given_at)
        return len(changed)

    def _set(self, number: int, row: CapturedRow, given_at: float) -> None:
        """Replaces a row by the same one with a label. Called inside a transaction."""
        self._db.execute("UPDATE captured SET body = ? WHERE id = ?", (encode(row), number))
        self._db.execute("INSERT OR REPLACE INTO labelled VALUES (?, ?, ?)", (number, row.model, given_at))

    def concerned(self, order: Erasure, devices: frozenset[str] | None) -> list[int]:
        """Returns the ids of the rows of an order; `devices` None: of all devices. It opens its own connection: any
        thread may call, and a million rows take seconds.
        """
        database = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            found = database.execute("SELECT id, device, body FROM captured WHERE ? IN ('', model)", (order.model,))
            return [
                number
                for number, device, body in found
                if (devices is None or device in devices) and ((row := _read(body)) is None or order.matches(row))
            ]  # an unreadable row may belong to the order, so it is deleted too
        finally:
            database.close()

    def erase(self, numbers: Sequence[int]) -> None:
        """Deletes rows by their ids, in one transaction. WorldError `disk_full`."""
        with transaction(self._db):
            self._db.executemany("DELETE FROM captured WHERE id = ?", [(number,) for number in numbers])

    def erase_waiting(self, order: Erasure, devices: frozenset[str] | None) -> None:
        """Deletes labels of an order that wait for their rows, and removes them from SQLite's log."""
        with transaction(self._db):
            self._late.erase(order, devices)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def newest_of(self, model: str, since: float, limit: int) -> list[tuple[str, CapturedRow]]:
        """Returns (device, row) of a model's newest rows that were captured after `since` (seconds since 1970), newest
        first.
        """
        return [(device, row) for _, device, row in self.newest_rows(model, limit) if row.at >= since]

    def newest_rows(self, model: str, limit: int) -> list[tuple[int, str, CapturedRow]]:
        """Returns (id, device, row) of a model's newest rows, newest first: at most `limit`, and of no device more than
        its share while others have as many.

        A device that sends without end thereby hides no row of another one.
        """
        devices = self._db.execute(_NEWEST_DEVICES, (model, limit)).fetchall()
        found: list[tuple[int, str, bytes]] = []
        for place, (device, _) in enumerate(devices):
            most = -(
                -(limit - len(found)) // (len(devices) - place)
            )  # what earlier ones left is divided among the rest
            found += self._db.execute(_NEWEST_OF_DEVICE, (model, device, most)).fetchall()
        return list(_readable(sorted(found, reverse=True)))

    def labelled(self, model: str, limit: int) -> list[CapturedRow]:
        """Returns the newest rows of a model that have a label, newest first, by its own connection: any thread may
        call.
        """
        wanted = (
            "SELECT id, device, body FROM labelled JOIN captured USING (id) "
            "WHERE labelled.model = ? ORDER BY id DESC LIMIT ?"
        )
        database = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            return [row for _, _, row in _readable(database.execute(wanted, (model, limit)))]
        finally:
            database.close()

    def given_since(self, model: str, since: float) -> int:
        """Returns how many labels people have given for a model's rows since a moment, in seconds since 1970."""
        counted = "SELECT COUNT(*) FROM labelled WHERE model = ? AND given_at >= ?"
        return int(self._db.execute(counted, (model, since)).fetchone()[0])

    def _row(self, model: str, number: int) -> CapturedRow | None:
        found = self._db.execute("SELECT body FROM captured WHERE model = ? AND id = ?", (model, number)).fetchone()
        return _read(found[0]) if found is not None else None

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def _prune(self, model: str) -> None:
        """Makes room for a thousandth of the limit at a time.

        Deletes the oldest rows of the device that has most: a device that sends too much does not displace rows of
        others.
        """
        count = int(self._db.execute("SELECT COUNT(*) FROM captured WHERE model = ?", (model,)).fetchone()[0])
        excess = count - self._max_rows + self._max_rows // PRUNED_PART if count > self._max_rows else 0
        while excess > 0:
            device, count = self._db.execute(_MOST, (model,)).fetchone()
            self._db.execute(_PRUNE, (model, device, min(excess, count)))
            excess -= min(excess, count)
            self._db.execute("DELETE FROM labelled WHERE model = ? AND id NOT IN (SELECT id FROM captured)", (model,))


def _read(body: bytes) -> CapturedRow | None:
    """Returns a stored row; None if it cannot be read, which does not affect the rows beside it."""
    try:
        return decode(body, CapturedRow)
    except BadInput as error:
        _log.warning("a captured row cannot be read and is left out: %s", error.detail)
        return None


def _readable(rows: Iterable[tuple[int, str, bytes]]) -> Iterator[tuple[int, str, CapturedRow]]:
    """Yields (id, device, row) of the readable rows."""
    for number, device, body in rows:
        if (row := _read(body)) is not None:
            yield number, device, row
