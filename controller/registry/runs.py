"""Runs that were sent here, with their numbers over steps, in one SQLite file.

Decides how many are kept, by which words they are found, and their order. Refuses to know which machines send them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contract.errors import BadInput, Code
from contract.run_record import Record
from contract.run_sent import Curve, SentRun
from controller.registry.database import open_database, transaction

MAX_RUNS = 20_000
"""The most runs that are kept, 55 a day for a year; the oldest ones are deleted first. The machines on which they
ran keep theirs.
"""
MAX_WORDS = 8
"""The most words of one search."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, started REAL NOT NULL,
                                 models TEXT NOT NULL, words TEXT NOT NULL, body TEXT NOT NULL, curves BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started);
"""
_ORDERS = {"started": "started", "name": "name", "status": "status"}
METRIC = "metric."


class KeptRun(msgspec.Struct, frozen=True):
    """One run as it is kept: the record, who sent it, and when."""

    record: Record
    sent_by: str
    sent_at: str


class RunQuery(msgspec.Struct, frozen=True):
    """Which runs are wanted, and in which order."""

    text: str = ""
    """Words, each of which is in the id, name, model, parameters, tags, data sets, commit or sender."""
    name: str = ""
    status: str = ""
    model: str = ""
    data_set: str = ""
    """`NAME@VERSION`."""
    order: str = "-started"
    """`started`, `name`, `status` or `metric.NAME`; a minus before it reverses the order."""


class Runs:
    """The runs of one controller. Used within one thread."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def keep(self, sent: SentRun, by: str, at: str) -> None:
        """Keeps a run, in place of an earlier state of it; deletes the oldest ones beyond `MAX_RUNS`."""
        record, kept = sent.record, KeptRun(sent.record, by, at)
        models = json.dumps([each.model for each in record.pushed])
        row = (record.id, record.name, record.status, record.started_at, models, _words(kept))
        with transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, msgspec.json.encode(kept).decode(), msgspec.json.encode(sent.curves)),
            )
            self._db.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY started DESC, id LIMIT -1 OFFSET ?)",
                (MAX_RUNS,),
            )

    def find(self, run: str) -> KeptRun:
        """Returns the run with this id. BadInput `unknown_run`."""
        found = self.known(run)
        if found is None:
            words = f"no run {run[:64]!r} was sent here; on the machine where it ran: `edgeward run send {run[:64]}`"
            raise BadInput(Code.UNKNOWN_RUN, words)
        return found

    def known(self, run: str) -> KeptRun | None:
        """The run with this id, None if there is none."""
        row = self._db.execute("SELECT body FROM runs WHERE id = ?", (run,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=KeptRun)

    def curves(self, run: str, metrics: Sequence[str] = ()) -> list[Curve]:
        """Returns the numbers of a run over steps, of the named metrics, or of all if none is named. BadInput
        `unknown_run`.
        """
        self.find(run)
        (body,) = self._db.execute("SELECT curves FROM runs WHERE id = ?", (run,)).fetchone()
        every = msgspec.json.decode(body, type=list[Curve])
        return [curve for curve in every if not metrics or curve.metric in metrics]

    def page(self, query: RunQuery, limit: int, offset: int) -> tuple[int, list[KeptRun]]:
        """Returns (the number of matching runs, a page of them). BadInput `request_invalid` for an unknown order."""
        wanted, values = _wanted(query)
        order, given = _order(query.order)
        (total,) = self._db.execute(f"SELECT count(*) FROM runs WHERE {wanted}", values).fetchone()  # noqa: S608
        found = self._db.execute(
            f"SELECT body FROM runs WHERE {wanted} ORDER BY {order}, id DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*values, *given, limit, offset),
        )
        return total, [msgspec.json.decode(body, type=KeptRun) for (body,) in found]


def _wanted(query: RunQuery) -> tuple[str, list[str]]:
    """Returns (conditions of SQL, their values): only values come from the query."""
    named = [(f"{column} = ?", value) for column, value in (("name", query.name), ("status", query.status)) if value]
    words = [("instr(words, ?) > 0", word) for word in query.text.lower().split()[:MAX_WORDS]]
    of = [("? IN (SELECT value FROM json_each(models))", query.model)] if query.model else []
    rows = "? IN (SELECT json_extract(value, '$.data_set') FROM json_each(body, '$.record.data'))"
    conditions = [*named, *words, *of, *([(rows, query.data_set)] if query.data_set else [])]
    return " AND ".join(text for text, _ in conditions) or "1", [value for _, value in conditions]


def _order(asked: str) -> tuple[str, list[str]]:
    name, turned = asked.removeprefix("-"), asked.startswith("-")
    way = "DESC" if turned else "ASC"
    if name in _ORDERS:
        return f"{_ORDERS[name]} {way}", []
    metric = name.removeprefix(METRIC)
    if not name.startswith(METRIC) or not metric or '"' in metric:
        raise BadInput(Code.REQUEST_INVALID, f"sort {asked[:40]!r}: expected started, name, status or metric.NAME")
    return f"json_extract(body, ?) {way} NULLS LAST", [f'$.record.metrics."{metric}"']


def _words(kept: KeptRun) -> str:
    """The text that is searched for words, in small letters."""
    record = kept.record
    pairs = [f"{name}={value}" for found in (record.params, record.tags) for name, value in found.items()]
    pushed = [f"{each.model} v{each.release}" for each in record.pushed]
    data = [text for each in record.data for text in (each.name, each.data_set, each.sha256)]
    revision = record.code.revision if record.code is not None else ""
    return " ".join((record.id, record.name, record.status, kept.sent_by, revision, *pushed, *pairs, *data)).lower()
