"""The narrow store interface of what people write, and TinyDB behind it: one file a table, documents by text key.

For models, versions, policies, tokens and trust metadata: hundreds of documents, each write replaces its table's file.
What changes with the fleet is in `fleet_tables`. Reads come from memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tinydb import TinyDB, where
from tinydb.middlewares import CachingMiddleware

from controller.registry.atomic_storage import AtomicStorage

Doc = dict[str, Any]


class Store(Protocol):
    """Tables of documents. What `put` and `delete` have returned from is durable."""

    def get(self, table: str, key: str) -> Doc | None:
        """One document, or None."""
        ...

    def all(self, table: str) -> Mapping[str, Doc]:
        """Every document of a table by key, in order of insertion."""
        ...

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Inserts or replaces documents in one durable step: all of them, or none."""
        ...

    def delete(self, table: str, key: str) -> None:
        """Removes a document; a missing one is not an error."""
        ...


class TinyStore:
    """Store on TinyDB in one directory; one process at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tables: dict[str, dict[str, Doc]] = {}

    def get(self, table: str, key: str) -> Doc | None:
        """One document, or None."""
        return self.all(table).get(key)

    def all(self, table: str) -> Mapping[str, Doc]:
        """Every document of a table."""
        if table not in self._tables:
            self._tables[table] = read_table(self._directory / f"{table}.json")
        return self._tables[table]

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Inserts or replaces. TinyDB writes after each step of its own: they are collected and flushed as one."""
        database = self._open(table)
        for key, doc in docs.items():
            database.upsert({"key": key, "doc": doc}, where("key") == key)
        database.storage.flush()
        self._tables[table] = {**self.all(table), **docs}

    def delete(self, table: str, key: str) -> None:
        """Removes."""
        if key not in self.all(table):
            return
        database = self._open(table)
        database.remove(where("key") == key)
        database.storage.flush()
        self._tables[table] = {name: doc for name, doc in self._tables[table].items() if name != key}

    def _open(self, table: str) -> TinyDB:
        """A database for one change: one that could not be flushed is not asked again."""
        return _database(self._directory / f"{table}.json")


def read_table(path: Path) -> dict[str, Doc]:
    """The documents in one table's file by key; BadInput `store_corrupt` if it is not JSON."""
    return {row["key"]: row["doc"] for row in _database(path).all()}


def _database(path: Path) -> TinyDB:
    database = TinyDB(str(path), storage=CachingMiddleware(AtomicStorage))
    database.storage.WRITE_CACHE_SIZE = 1 << 62  # never by itself: `flush` is the one durable step
    return database
