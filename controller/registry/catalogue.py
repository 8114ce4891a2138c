"""An index over all versions, in an SQL engine in memory, so that search, filter and sort need not read all documents.

Decides nothing that is stored: it is made from the registry's documents at each start, and follows each change, so it
cannot be older than they are or damaged by a kill (docs/adr/0026). Refuses to know HTTP.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from controller.registry.aliases import Aliases
from controller.registry.notes import NoteStore
from controller.registry.registry import Registry
from controller.registry.search import FACTS, NUMBERS, TEXTS, Condition, Order, Query
from controller.registry.version import Version

MAX_PARAMS_INDEXED = 40
"""The most parameters of a version that a search finds: those of a pipeline's last steps have long names and come
last."""
_COLUMNS = (*TEXTS, *NUMBERS, "words")
_SCHEMA = f"""
CREATE TABLE versions (id INTEGER PRIMARY KEY, {", ".join(f'"{name}"' for name in _COLUMNS)});
CREATE UNIQUE INDEX by_key ON versions (model, release);
CREATE INDEX by_time ON versions (created_at, id);
CREATE INDEX by_size ON versions (size_bytes, id);
CREATE TABLE facts (kind INTEGER, name TEXT, value, version INTEGER);
CREATE INDEX by_fact ON facts (kind, name, value, version);
CREATE INDEX by_version ON facts (version);
"""
_COMPARED = {"=": "=", "!=": "IS NOT", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

MAX_NAMED = 12
"""The most names of tags, metrics, parameters or aliases that an answer lists."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of versions as (model, release), and the number of all matches."""

    total: int
    keys: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Count:
    """The number of a model's versions, its newest one, and the newest that may be rolled out (None: there is none)."""

    model: str
    versions: int
    newest_release: int
    newest_passed: int | None


class Catalogue:
    """The index of one registry, with its aliases and notes."""

    def __init__(self, registry: Registry, aliases: Aliases, notes: NoteStore) -> None:
        self._registry, self._aliases, self._notes = registry, aliases, notes
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        for model in registry.models():
            for version in registry.versions(model):
                self._insert(version)
        self._db.execute("END")
        registry.changed = self.follow

    def follow(self, model: str, release: int) -> None:
        """Reads one version again."""
        known = self._db.execute("SELECT id FROM versions WHERE model = ? AND release = ?", (model, release)).fetchone()
        self._db.execute("BEGIN")
        if known is not None:
            self._db.execute("DELETE FROM facts WHERE version = ?", known)
            self._db.execute("DELETE FROM versions WHERE id = ?", known)
        self._insert(self._registry.version(model, release))
        self._db.execute("END")

    def search(self, query: Query) -> Found:
        """Returns the page of a query."""
        joined, ordered, named = _ordered(query.order)
        tests, bound = _tests(query)
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        source = f"FROM versions v{joined}{where}"
        values: list[str | float] = [*named, *bound]
        if not tests:
            total = self._count(source, values)
            page = f"SELECT v.model, v.release {source} ORDER BY {ordered} LIMIT ? OFFSET ?"
            return Found(total, tuple(self._db.execute(page, (*values, query.limit, query.offset)).fetchall()))
        page = f"SELECT v.model, v.release, count(*) OVER () {source} ORDER BY {ordered} LIMIT ? OFFSET ?"
        rows = self._db.execute(page, (*values, query.limit, query.offset)).fetchall()
        total = rows[0][2] if rows else self._count(source, values) if query.offset else 0
        return Found(total, tuple((model, release) for model, release, _ in rows))

    def unknown(self, query: Query) -> list[str]:
        """Returns the names in a query that no version has, each in a sentence with those that exist; empty if all
        exist.
        """
        named = [(each.field, each.name) for each in query.conditions] + [(query.order.field, query.order.name)]
        facts = [each for each in dict.fromkeys(named) if each[0] in FACTS]
        return [self._what_there_is(*each) for each in facts if not self._has(*each)]

    def _has(self, field: str, name: str) -> bool:
        found = self._db.execute("SELECT 1 FROM facts WHERE kind = ? AND name = ? LIMIT 1", (FACTS.index(field), name))
        return found.fetchone() is not None

    def _what_there_is(self, field: str, name: str) -> str:
        names = "SELECT DISTINCT name FROM facts WHERE kind = ? ORDER BY name LIMIT ?"
        known = [each for (each,) in self._db.execute(names, (FACTS.index(field), MAX_NAMED + 1))]
        there = ", ".join(f"{field}.{each[:64]}" for each in known[:MAX_NAMED])
        more = " and more" if len(known) > MAX_NAMED else ""
        return f"no version has {field}.{name[:64]}; there {_is_or_are(known)} {there or f'no {field} at all'}{more}"

    def _count(self, source: str, values: list[str | float]) -> int:
        return int(self._db.execute(f"SELECT count(*) {source}", values).fetchone()[0])

    def counts(self) -> list[Count]:
        """Returns every model, in the order of its first version."""
        free = "max(release) FILTER (WHERE passed = 1 AND withdrawn = 0)"
        rows = self._db.execute(f"SELECT model, count(*), max(release), {free} FROM versions GROUP BY model").fetchall()  # noqa: S608
        counts = {row[0]: Count(*row) for row in rows}
        return [counts[model] for model in self._registry.models()]

    def _insert(self, version: Version) -> None:
        lineage, model, release = version.lineage, version.model, version.release
        notes = self._notes.of(model, release)
        facts = list(_facts(version, notes.tags, self._aliases.naming(model, release)))
        words = [model, lineage.estimator, lineage.created_by, *(f"{key}={text}" for key, text in notes.tags.items())]
        words += [each.text for each in (notes.note, *notes.comments) if each is not None]
        row = {
            "model": model, "semver": version.semver, "created_at": lineage.created_at,
            "created_by": lineage.created_by, "estimator": lineage.estimator, "task": version.manifest.task,
            "digest": version.manifest.artifact.sha256, "licence": lineage.licence,
            "revision": lineage.code.revision if lineage.code else "",
            "data": lineage.data.sha256 if lineage.data else "",
            "release": release, "size_bytes": version.manifest.artifact.length, "passed": int(version.passed),
            "withdrawn": int((model, release) in self._registry.withdrawn), "words": "\n".join(words).lower(),
        }  # fmt: skip
        marks = ", ".join("?" for _ in _COLUMNS)
        columns = ", ".join(f'"{name}"' for name in _COLUMNS)
        made = self._db.execute(
            f"INSERT INTO versions ({columns}) VALUES ({marks})",  # noqa: S608 - our own names
            [row[name] for name in _COLUMNS],
        )
        self._db.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", [(*fact, made.lastrowid) for fact in facts])


def _facts(version: Version, tags: dict[str, str], aliases: tuple[str, ...]) -> Iterator[tuple[int, str, str | float]]:
    params = list(version.lineage.params.items())[:MAX_PARAMS_INDEXED]
    yield from ((FACTS.index("tag"), key, text) for key, text in tags.items())
    yield from ((FACTS.index("metric"), key, number) for key, number in version.lineage.metrics.items())
    yield from ((FACTS.index("param"), key, str(value)) for key, value in params)
    yield from ((FACTS.index("alias"), name, "true") for name in aliases)


def _is_or_are(known: list[str]) -> str:
    return "are" if len(known) > 1 else "is"


def _tests(query: Query) -> tuple[list[str], list[str | float]]:
    """Returns SQL terms, all of which must hold, and the values for their placeholders."""
    tests, values = [], []
    for condition in query.conditions:
        term, bound = _term(condition)
        tests.append(term)
        values += bound
    if query.text:
        tests.append("instr(v.words, ?) > 0")
        values.append(query.text)
    return tests, values


def _term(condition: Condition) -> tuple[str, list[str | float]]:
    if condition.field in FACTS:
        kind = FACTS.index(condition.field)
        compared, value = _compared("value", condition)
        term = f"v.id IN (SELECT version FROM facts WHERE kind = {kind} AND name = ? AND {compared})"  # noqa: S608
        return term, [condition.name, value]
    compared, value = _compared(f'v."{condition.field}"', condition)
    return compared, [value]


def _compared(column: str, condition: Condition) -> tuple[str, str | float]:
    if condition.operator == "~":
        return f"instr(lower({column}), ?) > 0", str(condition.value).lower()
    return f"{column} {_COMPARED[condition.operator]} ?", condition.value


def _ordered(order: Order) -> tuple[str, str, list[str]]:
    """Returns (JOIN for the fact that decides the order, ORDER BY, values for its placeholders). Of equal ones the
    newest comes first.
    """
    way = "DESC" if order.descending else "ASC"
    if order.field not in FACTS:
        return "", f'v."{order.field}" {way}, v.id {way}', []
    join = f" JOIN facts o ON o.version = v.id AND o.kind = {FACTS.index(order.field)} AND o.name = ?"
    return join, f"o.value {way}, v.id {way}", [order.name]
