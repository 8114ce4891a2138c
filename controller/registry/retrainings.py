"""Attempts to retrain and every decision about them, in an embedded SQL file.

Decides that a decision which repeats the one before is counted and not added, and how many are kept: many equal
proposals make one row. Refuses to know how a decision is made.
"""

from pathlib import Path

import msgspec

from contract.kept import row_reader
from contract.wire import encode
from controller.registry.database import open_database, transaction
from controller.retraining.model import Decision, Retraining
from controller.retraining.quality import Mean

MAX_DECISIONS_PER_MODEL = 10_000
"""The most decisions; after that the oldest are deleted: a year of hourly decisions that never repeat."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (id TEXT PRIMARY KEY, model TEXT NOT NULL, created REAL NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_of ON attempts (model, created);
CREATE TABLE IF NOT EXISTS decisions (id INTEGER PRIMARY KEY, model TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS decisions_of ON decisions (model, id);
CREATE TABLE IF NOT EXISTS firsts (model TEXT NOT NULL, release INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (model, release));
"""
_PRUNE = """
DELETE FROM decisions WHERE model = ? AND id <= (
    SELECT id FROM decisions WHERE model = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
"""

_attempt = row_reader(Retraining)
_decision = row_reader(Decision)


class Retrainings:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def save(self, attempt: Retraining) -> None:
        """Makes the present state of an attempt durable. WorldError `disk_full`."""
        row = (attempt.id, attempt.model, attempt.created_at, encode(attempt))
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", row)

    def find(self, name: str) -> Retraining | None:
        """Returns one attempt; None if there is none of this name."""
        found = self._db.execute("SELECT body FROM attempts WHERE id = ?", (name,)).fetchone()
        return _attempt(found[0]) if found is not None else None

    def attempts(self, model: str = "") -> list[Retraining]:
        """Attempts for a model, or for all, oldest first."""
        wanted = "SELECT body FROM attempts WHERE ? IN ('', model) ORDER BY created, id"
        return [_attempt(body) for (body,) in self._db.execute(wanted, (model,))]

    def note(self, decision: Decision) -> bool:
        """Makes a decision durable; False if it repeats the newest one. WorldError `disk_full`."""
        newest = self._newest(decision.model)
        again = newest is not None and _same(newest[1], decision)
        with transaction(self._db):
            if newest is not None and again:
                counted = msgspec.structs.replace(decision, times=newest[1].times + 1)
                self._db.execute("UPDATE decisions SET body = ? WHERE id = ?", (encode(counted), newest[0]))
            else:
                row = (decision.model, encode(decision))
                self._db.execute("INSERT INTO decisions (model, body) VALUES (?, ?)", row)
                self._db.execute(_PRUNE, (decision.model, decision.model, MAX_DECISIONS_PER_MODEL))
        return not again

    def decisions(self, model: str, limit: int = 100) -> list[Decision]:
        """Decisions about a model, newest first."""
        wanted = "SELECT body FROM decisions WHERE ? IN ('', model) ORDER BY id DESC LIMIT ?"
        return [_decision(body) for (body,) in self._db.execute(wanted, (model, limit))]

    def first_mean(self, model: str, release: int) -> Mean | None:
        """Returns the stored labelled quality of the first blocks in which a release served."""
        wanted = "SELECT body FROM firsts WHERE model = ? AND release = ?"
        found = self._db.execute(wanted, (model, release)).fetchone()
        return msgspec.json.decode(found[0], type=Mean) if found is not None else None

    def keep_first_mean(self, model: str, release: int, mean: Mean) -> None:
        """Stores it permanently, because telemetry of those days is deleted with age."""
        with transaction(self._db):
            row = (model, release, msgspec.json.encode(mean))
            self._db.execute("INSERT OR IGNORE INTO firsts VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def _newest(self, model: str) -> tuple[int, Decision] | None:
        wanted = "SELECT id, body FROM decisions WHERE model = ? ORDER BY id DESC LIMIT 1"
        found = self._db.execute(wanted, (model,)).fetchone()
        return None if found is None else (found[0], _decision(found[1]))


def _same(before: Decision, after: Decision) -> bool:
    return not after.retraining and _gist(before) == _gist(after)


def _gist(decision: Decision) -> tuple[object, ...]:
    triggers = tuple(each.trigger for each in decision.proposals)
    return decision.champion, decision.word, decision.reason, triggers
