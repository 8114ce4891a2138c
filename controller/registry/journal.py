"""What devices say and operators do, in an embedded SQL engine: append-only history, audit, last heartbeats.

Decides what is durable before a report is acknowledged, and how much history is kept (of the audit: all). Refuses to
interpret it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from contract.audit import FIELDS, FIRST, chained, checkpoint
from controller.registry.database import open_database, transaction

MAX_HISTORY_PER_QUERY = 500
MAX_HISTORY_PER_DEVICE = 5_000
"""Newest entries of one device that are kept: ten updates a day for a quarter; 5 MB of one that floods."""
MAX_HISTORY_DAYS = 400
"""Older entries go: a year and the month in which somebody asks about it."""
PRUNE_EVERY = 256
"""Entries between two looks at how many their devices have: a look costs as much as there are."""
PRUNE_OLDEST = 1_000
"""Entries whose age is looked at in one transaction, oldest first: more than come in, so the rest follows soon."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, at TEXT NOT NULL, device TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS history_told
    ON history (device, json_extract(body, '$.boot'), json_extract(body, '$.seq'), id);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
                                  subject TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reported (device TEXT PRIMARY KEY, at TEXT NOT NULL, body BLOB NOT NULL);
CREATE TRIGGER IF NOT EXISTS history_is_append_only BEFORE UPDATE ON history
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_keeps_all BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
_TELL = """
INSERT INTO history (at, device, body) SELECT :at, :device, :body WHERE NOT EXISTS (
    SELECT 1 FROM history WHERE device = :device AND json_extract(body, '$.boot') = json_extract(:body, '$.boot')
                                                 AND json_extract(body, '$.seq') = json_extract(:body, '$.seq'))
"""
_TOLD = """
SELECT at, body FROM history WHERE device = ?
ORDER BY json_extract(body, '$.boot') DESC, json_extract(body, '$.seq') DESC, id DESC LIMIT ?
"""
_FORGET_OLD = "DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?) AND at < ?"
_FORGET_MANY = """
DELETE FROM history WHERE device = ? AND id IN (
    SELECT id FROM history WHERE device = ?
    ORDER BY json_extract(body, '$.boot') DESC, json_extract(body, '$.seq') DESC, id DESC LIMIT -1 OFFSET ?)
"""


class Journal:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)
        self._told: Counter[str] = Counter()
        """Entries by device since history was pruned last."""

    def record(
        self, at: str, history: Iterable[tuple[str, str]] = (), reported: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        """Appends (device, JSON) entries and replaces last heartbeats, in one durable transaction.

        An entry whose `boot` and `seq` the device has sent before is one that was sent again: it stands once.
        """
        told = [{"at": at, "device": device, "body": body} for device, body in history]
        with transaction(self._db):
            self._db.executemany(_TELL, told)
            self._prune(at, [entry["device"] for entry in told])
            self._db.executemany(
                "INSERT INTO reported (at, device, body) VALUES (?, ?, ?) "
                "ON CONFLICT (device) DO UPDATE SET at = excluded.at, body = excluded.body",
                [(at, device, body) for device, body in reported],
            )

    def _prune(self, at: str, devices: Iterable[str]) -> None:
        """Lets go of what is too old, and of the oldest entries of devices that have too many."""
        self._told.update(devices)
        if self._told.total() >= PRUNE_EVERY:
            since = (datetime.fromisoformat(at) - timedelta(days=MAX_HISTORY_DAYS)).isoformat()
            self._db.execute(_FORGET_OLD, (PRUNE_OLDEST, since))
            self._db.executemany(_FORGET_MANY, [(each, each, MAX_HISTORY_PER_DEVICE) for each in self._told])
            self._told.clear()

    def audit(self, at: str, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Appends what a person did, chained to what was done before."""
        entry = dict(zip(FIELDS, (at, actor, action, subject, detail), strict=True))
        with transaction(self._db):
            newest = self._db.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
            row = (*entry.values(), chained(newest[0] if newest else FIRST, entry))
            self._db.execute(
                "INSERT INTO audit (at, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?)", row
            )

    def checkpoint(self) -> str:
        """How many entries there are and the newest one's hash, for signed metadata to carry."""
        row = self._db.execute("SELECT COUNT(*), MAX(id) FROM audit").fetchone()
        newest = self._db.execute("SELECT hash FROM audit WHERE id = ?", (row[1],)).fetchone()
        return checkpoint(row[0], newest[0] if newest else FIRST)

    def whole_audit(self) -> list[dict[str, Any]]:
        """Every entry with its hash, oldest first."""
        rows = self._db.execute("SELECT at, actor, action, subject, detail, hash FROM audit ORDER BY id").fetchall()
        return [dict(zip((*FIELDS, "hash"), row, strict=True)) for row in rows]

    def history_of(self, device: str, limit: int = 50) -> list[tuple[str, str]]:
        """Newest (at, JSON) entries of a device in the order in which it said them, oldest of them first."""
        rows = self._db.execute(_TOLD, (device, min(limit, MAX_HISTORY_PER_QUERY))).fetchall()
        return [(at, body) for at, body in reversed(rows)]

    def last_words(self) -> dict[str, bytes]:
        """The last heartbeat of every device."""
        return dict(self._db.execute("SELECT device, body FROM reported").fetchall())

    def forget_last_words(self, device: str) -> None:
        """Drops the last heartbeat of a device whose hardware is replaced: another one speaks next."""
        with transaction(self._db):
            self._db.execute("DELETE FROM reported WHERE device = ?", (device,))

    def audit_entries(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest audit entries, newest first."""
        rows = self._db.execute(
            "SELECT at, actor, action, subject, detail FROM audit ORDER BY id DESC LIMIT ?", (limit,)
        ).fetchall()
        return [dict(zip(FIELDS, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()
