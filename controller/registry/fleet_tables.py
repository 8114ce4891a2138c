"""What changes with the fleet, in an embedded SQL engine: a row a device, one transaction a pass.

Decides what is atomic and in which order rows are read back: that of their first insertion. Refuses to know what a row
holds. A wave of 1,000 devices in a fleet of 100,000 is 1,000 rows here; as one JSON file it was 100,000 (`make bench
ONLY=store`).
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from contract.errors import Code, WorldError
from controller.registry.atomic_file import sync_directory
from controller.registry.database import open_database, transaction
from controller.registry.store import read_table

Rows = Mapping[str, Mapping[str, bytes | None]]
SET_ASIDE = ".moved-to-sqlite"
"""Appended to the name of a table's JSON file when its documents are rows."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS moved (name TEXT PRIMARY KEY);"


class FleetTables:
    """One SQLite file in WAL mode with full syncs; `names` are the tables, each a key and a body."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        tables = [
            f"CREATE TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body BLOB NOT NULL);"
            for name in sorted(self._names)
        ]
        self._db = open_database(path, "\n".join([_SCHEMA, *tables]))

    def rows(self, table: str) -> dict[str, bytes]:
        """Every row of a table by its key, in order of insertion."""
        return dict(self._db.execute(f"SELECT key, body FROM {self._known(table)} ORDER BY id").fetchall())  # noqa: S608 - our own names

    def write(self, rows: Rows) -> None:
        """Writes all of these rows in one transaction, None removes one; WorldError `disk_full`: then none of them."""
        with transaction(self._db):
            self._write(rows)

    def take_over(
        self, directory: Path, names: Iterable[str], rows_of: Callable[[str, Mapping[str, Any]], Rows]
    ) -> None:
        """Moves tables that were JSON files in `directory` here, once; each file is then set aside.

        Killed at any moment, it is right to do again: the rows and the note that a table has moved are one
        transaction, and a file whose table has moved is only set aside.
        """
        for name in names:
            path = directory / f"{name}.json"
            if not path.exists():
                continue
            if self._db.execute("SELECT 1 FROM moved WHERE name = ?", (name,)).fetchone() is None:
                rows = rows_of(name, read_table(path))
                with transaction(self._db):
                    self._write(rows)
                    self._db.execute("INSERT INTO moved VALUES (?)", (name,))
            _set_aside(path)

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def _write(self, rows: Rows) -> None:
        for table, changed in rows.items():
            name = self._known(table)
            kept = [(key, body) for key, body in changed.items() if body is not None]
            gone = [(key,) for key, body in changed.items() if body is None]
            upsert = (
                f"INSERT INTO {name} (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body"  # noqa: S608
            )
            self._db.executemany(upsert, kept)
            self._db.executemany(f"DELETE FROM {name} WHERE key = ?", gone)  # noqa: S608

    def _known(self, table: str) -> str:
        if table not in self._names:
            raise ValueError(f"no table {table!r}")
        return table


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(path.name + SET_ASIDE))
        sync_directory(path.parent)
    except OSError as error:
        raise WorldError(Code.DISK_FAILED, f"{path}: {error.strerror}") from error
