"""The data that changes with the fleet, in an embedded SQL engine: one row for each device, one transaction for each
pass.

Decides what is atomic, and that rows are read in the order of their first insertion. Refuses to know what a row holds.
A wave of 1,000 devices in a fleet of 100,000 writes 1,000 rows here. With one JSON file it wrote 100,000 (`make bench
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
"""The suffix for the name of a table's JSON file once its documents are rows."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS moved (name TEXT PRIMARY KEY);"


class FleetTables:
    """One SQLite file in WAL mode with full syncs. `names` are the tables; each row has a key and a body."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        tables = [
            f"CREATE TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body BLOB NOT NULL);"
            for name in sorted(self._names)
        ]
        self._db = open_database(path, "\n".join([_SCHEMA, *tables]))

    def rows(self, table: str) -> dict[str, bytes]:
        """Returns every row of a table by its key, in the order of insertion."""
        return dict(self._db.execute(f"SELECT key, body FROM {self._known(table)} ORDER BY id").fetchall())  # noqa: S608 - our own names

    def write(self, rows: Rows) -> None:
        """Writes these rows in one transaction; None removes a row. WorldError `disk_full`: then no row has changed."""
        with transaction(self._db):
            self._write(rows)

    def take_over(
        self, directory: Path, names: Iterable[str], rows_of: Callable[[str, Mapping[str, Any]], Rows]
    ) -> None:
        """Moves tables that were JSON files in `directory` into this file, once. Each JSON file is then renamed.

        It may be killed at any moment and run again. The rows and the note that a table has moved are one transaction,
        and a file whose table has moved is only renamed.
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
        """Closes the connection."""
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
