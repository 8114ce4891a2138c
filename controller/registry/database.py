"""A SQLite file with the controller's settings: one writer, WAL, a full sync at every commit, errors with a code.

Decides these settings. Refuses to know the tables.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import Code, WorldError


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Opens the file at `path` and creates the missing tables of `schema`; returns the connection."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(schema)
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A context whose statements take effect all together or not at all. WorldError `disk_full` if the disk refuses."""
    try:
        with database:
            yield
    except sqlite3.OperationalError as error:
        raise WorldError(Code.DISK_FULL, f"{error}; what was stored before is intact") from error
