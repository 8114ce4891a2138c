"""The reports of devices and actions of operators, in an embedded SQL engine: append-only history, audit, last
heartbeats.

Decides what is durable before a report is acknowledged, and how much history is kept (of the audit: all). Refuses
to know their meaning.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from contract.audit import FIELDS, FIRST, chained, checkpoint
from contract.errors import WorldError
from controller.registry.database import open_database, transaction

MAX_HISTORY_PER_QUERY = 500
MAX_HISTORY_PER_DEVICE = 5_000
"""Newest entries of one device that are kept: ten updates a day for a quarter; 5 MB of one that floods."""
MAX_HISTORY_DAYS = 400
"""Older entries are deleted: a year, and one more month for questions about it."""
PRUNE_EVERY = 256
"""Entries between two checks of how many each device has: a check takes time in proportion to the entries."""
PRUNE_OLDEST = 1_000
"""Entries whose age is checked in one transaction, oldest first: more than are added in that time."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, at TEXT NOT NULL, device TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS history_told
    ON history (device, json_extract(body, '$.boot'), json_extract(body, '$.seq'), id);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
                                  subject TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_of ON audit (subject, id);
CREATE INDEX IF NOT EXISTS audit_by_action ON audit (action, id);
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
_OF_DEVICE = """
(SELECT id, at, body, MIN(id) OVER (PARTITION BY json_extract(body, '$.boot')) AS began FROM history WHERE device = ?)
ORDER BY began DESC, json_extract(body, '$.seq') DESC, id DESC LIMIT ?
"""
"""Newest first: starts of the agent in the order of their first messages, and each start's entries by number."""
_TOLD = f"SELECT at, body FROM {_OF_DEVICE}"  # noqa: S608  # constants alone
_FORGET_OLD = "DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?) AND at < ?"
_FORGET_MANY = f"DELETE FROM history WHERE device = ? AND id NOT IN (SELECT id FROM {_OF_DEVICE})"  # noqa: S608
_AUDIT = """
SELECT id, at, actor, action, subject, detail, hash FROM audit
WHERE (:before = 0 OR id < :before) AND at >= :since AND (:until = '' OR at < :until)
    AND (:actor = '' OR actor = :actor) AND substr(action, 1, length(:action)) = :action
    AND instr(subject, :subject) > 0
    AND instr(lower(actor || ' ' || action || ' ' || subject || ' ' || detail), lower(:words)) > 0
ORDER BY id DESC LIMIT :limit
"""
_STORY = """
SELECT id, at, actor, action, subject, detail, hash FROM audit WHERE subject = :name
UNION SELECT id, at, actor, action, subject, detail, hash FROM audit
    WHERE action = 'device quarantine' AND instr(detail, :name) > 0
ORDER BY id DESC LIMIT :limit
"""
_COLUMNS = ("number", *FIELDS, "hash")

_log = logging.getLogger("edgeward.controller")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries of the audit are wanted. An empty field excludes nothing."""

    since: str = ""
    """The earliest date and time, in the form of entries."""
    until: str = ""
    """The date and time before which entries lie."""
    actor: str = ""
    action: str = ""
    """The beginning of the action: `rollout` finds `rollout start`."""
    subject: str = ""
    """A part of the subject."""
    words: str = ""
    """A part of the actor, the action, the subject or the detail, in upper or lower case."""


EVERYTHING = AuditFilter()


class Journal:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)
        self._told: Counter[str] = Counter()
        """The number of entries by device since history was last pruned."""
        self.seal: Callable[[str], None] = lambda checkpoint: None
        """Keeps the newest checkpoint in a second place, after each entry."""
        self.told: Callable[[int, dict[str, str]], None] = lambda number, entry: None
        """A function that is called with each entry once it is durable."""

    def record(
        self, at: str, history: Iterable[tuple[str, str]] = (), reported: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        """Appends (device, JSON) entries and replaces last heartbeats, in one durable transaction.

        An entry with a `boot` and `seq` that the device has sent before is a repetition and is not added again.
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

    def untold(self) -> list[tuple[str, bytes]]:
        """Returns (device, report) that came since each device's last heartbeat, oldest first: a controller had
        processed them before it was killed.
        """
        rows = self._db.execute(
            "SELECT h.device, h.body FROM reported r "
            "JOIN history h ON h.device = r.device AND h.at >= r.at ORDER BY h.id"
        )
        return [(device, body.encode()) for device, body in rows.fetchall()]

    def _prune(self, at: str, devices: Iterable[str]) -> None:
        """Deletes entries that are too old, and the oldest entries of devices that have too many."""
        self._told.update(devices)
        if self._told.total() >= PRUNE_EVERY:
            since = (datetime.fromisoformat(at) - timedelta(days=MAX_HISTORY_DAYS)).isoformat()
            self._db.execute(_FORGET_OLD, (PRUNE_OLDEST, since))
            self._db.executemany(_FORGET_MANY, [(each, each, MAX_HISTORY_PER_DEVICE) for each in self._told])
            self._told.clear()

    def audit(self, at: str, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Appends an action to the chain. WorldError `disk_full`: then it was not added."""
        self.audit_all(at, actor, [(action, subject, detail)])

    def audit_all(self, at: str, actor: str, deeds: Iterable[tuple[str, str, str]]) -> None:
        """Appends (action, subject, detail) of one actor in one transaction: all of them, or none."""
        written: list[dict[str, str]] = []
        with transaction(self._db):
            number, before = self._newest()
            for deed in deeds:
                entry = dict(zip(FIELDS, (at, actor, *deed), strict=True))
                before = chained(before, entry)
                self._db.execute(
                    "INSERT INTO audit (at, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
                    (*entry.values(), before),
                )
                written.append(entry)
        try:
            self.seal(self.checkpoint())
        except WorldError as error:  # the entry is durable; the seal is one behind until the next one
            _log.error("the audit's seal could not be written: %s", error)
        for place, entry in enumerate(written, start=number + 1):
            self.told(place, entry)

    def checkpoint(self) -> str:
        """Returns the number of entries and the newest one's hash, which signed metadata contains."""
        return checkpoint(*self._newest())

    def hash_of(self, number: int) -> str | None:
        """Returns the hash of an entry by its number, from 1 on; None if there is none."""
        row = self._db.execute("SELECT hash FROM audit WHERE id = ?", (number,)).fetchone()
        return FIRST if number == 0 else str(row[0]) if row else None

    def goes_on_after(self, action: str) -> bool:
        """Returns whether entries follow the first one with this action: a kill may come between that one
        and its seal.
        """
        wanted = "SELECT 1 FROM audit WHERE id > (SELECT min(id) FROM audit WHERE action = ?) LIMIT 1"
        return self._db.execute(wanted, (action,)).fetchone() is not None

    def whole_audit(self) -> list[dict[str, Any]]:
        """Returns every entry with its number and its hash, oldest first."""
        rows = self._db.execute("SELECT id, at, actor, action, subject, detail, hash FROM audit ORDER BY id").fetchall()
        return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]

    def _newest(self) -> tuple[int, str]:
        """Returns the number and the hash of the newest entry. Numbers have no gaps, because entries are
        only appended.
        """
        return self._db.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone() or (0, FIRST)

    def history_of(self, device: str, limit: int = 50) -> list[tuple[str, str]]:
        """Returns the newest (at, JSON) entries of a device in the order in which it sent them, oldest first."""
        rows = self._db.execute(_TOLD, (device, min(limit, MAX_HISTORY_PER_QUERY))).fetchall()
        return [(at, body) for at, body in reversed(rows)]

    def newest_history(self, limit: int, since: str) -> list[tuple[str, str, str]]:
        """(at, device, JSON) of the newest `limit` entries of all devices, newest first, none before `since`."""
        newest = "SELECT at, device, body FROM (SELECT * FROM history ORDER BY id DESC LIMIT ?) WHERE at >= ?"
        return self._db.execute(newest, (limit, since)).fetchall()

    def last_words(self) -> dict[str, bytes]:
        """Returns the last heartbeat of every device."""
        return dict(self._db.execute("SELECT device, body FROM reported").fetchall())

    def last_words_after(self, device: str, limit: int) -> list[tuple[str, bytes]]:
        """Returns (device, last heartbeat) of the devices whose names follow, in the order of their names."""
        asked = "SELECT device, body FROM reported WHERE device > ? ORDER BY device LIMIT ?"
        return [(name, body) for name, body in self._db.execute(asked, (device, limit))]

    def forget_last_words(self, device: str) -> None:
        """Deletes the last heartbeat of a device whose hardware is replaced, because the next message comes from other
        hardware.
        """
        with transaction(self._db):
            self._db.execute("DELETE FROM reported WHERE device = ?", (device,))

    def audit_entries(
        self, limit: int = 100, *, wanted: AuditFilter = EVERYTHING, before: int = 0
    ) -> list[dict[str, Any]]:
        """Returns the newest matching entries, newest first; only those with numbers below `before`, unless it is 0."""
        rows = self._db.execute(_AUDIT, asdict(wanted) | {"before": before, "limit": limit}).fetchall()
        return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]

    def audit_story(self, name: str, limit: int) -> list[dict[str, Any]]:
        """Returns the newest entries about a rollout, oldest of them first: its own, and devices from which it keeps a
        release.
        """
        rows = self._db.execute(_STORY, {"name": name, "limit": limit}).fetchall()
        return [dict(zip(_COLUMNS, row, strict=True)) for row in reversed(rows)]

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()
