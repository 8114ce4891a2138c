"""The small store interface for data that people write, and its implementation with TinyDB: one file for each
table, documents by text key.

For models, versions, policies, tokens and trust metadata: hundreds of documents. Each write replaces its table's file.
Reads come from memory. Data that changes with the fleet is in `fleet_tables`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tinydb import TinyDB, where
from tinydb.middlewares import CachingMiddleware

from controller.registry.atomic_storage import AtomicStorage

Doc = dict[str, Any]


class Store(Protocol):
    """Tables of documents. Once `put` or `delete` has returned, the change is durable."""

    def get(self, table: str, key: str) -> Doc | None:
        """Returns one document, or None."""
        ...

    def all(self, table: str) -> Mapping[str, Doc]:
        """Returns every document of a table by key, in the order of insertion."""
        ...

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Inserts or replaces documents in one durable step: all of them, or none."""
        ...

    def delete(self, table: str, key: str) -> None:
        """Removes a document; a missing one is not an error."""
        ...


class TinyStore:
    """Store on TinyDB in one directory, for one process at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tables: dict[str, dict[str, Doc]] = {}

    def get(self, table: str, key: str) -> Doc | None:
        """Returns one document, or None."""
        return self.all(table).get(key)

    def all(self, table: str) -> Mapping[str, Doc]:
        """Returns every document of a table by key."""
        if table not in self._tables:
            self._tables[table] = read_table(self._directory / f"{table}.json")
        return self._tables[table]

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Inserts or replaces documents. TinyDB writes after each of its steps; here the steps are collected and
        written once.
        """
        database = self._open(table)
        for key, doc in docs.items():
            database.upsert({"key": key, "doc": doc}, where("key") == key)
        database.storage.flush()
        self._tables[table] = {**self.all(table), **docs}

    def delete(self, table: str, key: str) -> None:
        """Removes a document; a missing one is not an error."""
        if key not in self.all(table):
            return
        database = self._open(table)
        database.remove(where("key") == key)
        database.storage.flush()
        self._tables[table] = {name: doc for name, doc in self._tables[table].items() if name != key}

    def _open(self, table: str) -> TinyDB:
        """Returns a database for one change. After a failed write it is not used again."""
        return _database(self._directory / f"{table}.json")


def read_table(path: Path) -> dict[str, Doc]:
    """Returns the documents in one table's file by key. BadInput `store_corrupt` if it is not JSON."""
    return {row["key"]: row["doc"] for row in _database(path).all()}


def _database(path: Path) -> TinyDB:
    database = TinyDB(str(path), storage=CachingMiddleware(AtomicStorage))
    database.storage.WRITE_CACHE_SIZE = 1 << 62  # TinyDB never writes by itself: only `flush` writes durably
    return database
