"""An embedded SQL file as the controller needs it: one writer, WAL, a full sync at every commit, faults with a code."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import Code, WorldError


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """A connection to `path`, whose tables are made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(schema)
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is executed within, or nothing; WorldError `disk_full` where the disk refuses it."""
    try:
        with database:
            yield
    except sqlite3.OperationalError as error:
        raise WorldError(Code.DISK_FULL, f"{error}; what was stored before is intact") from error
