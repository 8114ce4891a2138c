"""The narrow store interface of the registry, and TinyDB behind it: one file a table, documents by text key.

For what people write (models, versions, rollouts): hundreds of documents. Reads come from memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tinydb import TinyDB

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
        """Insert or replace documents in one durable step: all of them, or none."""
        ...

    def delete(self, table: str, key: str) -> None:
        """Remove a document; a missing one is not an error."""
        ...


class TinyStore:
    """Store on TinyDB in one directory; one process at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._databases: dict[str, TinyDB] = {}
        self._tables: dict[str, dict[str, Doc]] = {}

    def get(self, table: str, key: str) -> Doc | None:
        """One document, or None."""
        return self.all(table).get(key)

    def all(self, table: str) -> Mapping[str, Doc]:
        """Every document of a table."""
        if table not in self._tables:
            documents = self._database(table).all()
            self._tables[table] = {document["key"]: document["doc"] for document in documents}
        return self._tables[table]

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Insert or replace."""
        self._replace(table, {**self.all(table), **docs})

    def delete(self, table: str, key: str) -> None:
        """Remove."""
        kept = {name: doc for name, doc in self.all(table).items() if name != key}
        if len(kept) != len(self.all(table)):
            self._replace(table, kept)

    def _replace(self, table: str, docs: dict[str, Doc]) -> None:
        rows = {number: {"key": key, "doc": doc} for number, (key, doc) in enumerate(docs.items(), start=1)}
        self._database(table).storage.write({"_default": {str(number): row for number, row in rows.items()}})
        self._tables[table] = docs

    def _database(self, table: str) -> TinyDB:
        if table not in self._databases:
            self._databases[table] = TinyDB(str(self._directory / f"{table}.json"), storage=AtomicStorage)
        return self._databases[table]
