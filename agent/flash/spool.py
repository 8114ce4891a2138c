"""Batches that wait on flash for the controller, in a bounded queue of files that survives power loss.

Decides names, order and losses: beyond the limit the oldest batch is dropped, because newer ones are more useful.
Refuses to know what a batch holds. Invariant: a file whose name has no prefix ``tmp-`` is complete and durable.
"""

import re

from agent.flash.atomic_file import read_atomic, write_atomic
from agent.ports import Disk
from contract.errors import BadInput

PREFIX = "captured-"
MAX_FILES = 4096
Name = tuple[int, int]
"""(boot, seq) of a batch. The boot does not give the order: files are numbered by their place in the queue."""
_FILE = re.compile(rf"{PREFIX}([0-9]+)-([0-9]+)-([0-9]+)")


class Spool:
    """A queue, first in, first out. Raises WorldError `disk_full` or `disk_failed` when the medium refuses."""

    def __init__(self, disk: Disk, max_bytes: int) -> None:
        self._disk = disk
        self._max_bytes = max_bytes
        self._files: dict[Name, tuple[str, int]] = {}
        """The file and its size in bytes by batch name, oldest first."""
        found: dict[int, tuple[Name, str]] = {}
        for name in disk.names():
            if (known := _FILE.fullmatch(name)) is not None:
                found[int(known[1])] = ((int(known[2]), int(known[3])), name)
            else:
                disk.delete(name)  # half-written before a power cut: no other program uses the directory
        for _, (batch, name) in sorted(found.items()):
            self._files[batch] = (name, disk.size_bytes(name))
        self._next = max(found, default=0) + 1

    def __len__(self) -> int:
        return len(self._files)

    def put(self, name: Name, body: bytes) -> int:
        """Makes a batch durable. Returns the number of old batches that were dropped for it."""
        given_up = 0
        while self._files and (self._size_bytes() + len(body) > self._max_bytes or len(self) >= MAX_FILES):
            self.drop(next(iter(self._files)))
            given_up += 1
        file = f"{PREFIX}{self._next}-{name[0]}-{name[1]}"
        self._files[name] = (file, write_atomic(self._disk, file, body))
        self._next += 1
        return given_up

    def oldest(self) -> tuple[Name, bytes] | None:
        """Returns the batch to send next, None if none waits. Drops damaged ones."""
        while self._files:
            name = next(iter(self._files))
            if (body := self.read(name)) is not None:
                return name, body
        return None

    def names(self) -> list[Name]:
        """Returns the names of all batches, oldest first."""
        return list(self._files)

    def read(self, name: Name) -> bytes | None:
        """Returns a batch. A damaged one is dropped, and None is returned."""
        try:
            return read_atomic(self._disk, self._files[name][0])
        except (OSError, BadInput):
            self.drop(name)
        return None

    def rewrite(self, name: Name, body: bytes) -> None:
        """Replaces the content of a batch durably; the batch keeps its place in the queue."""
        file = self._files[name][0]
        self._files[name] = (file, write_atomic(self._disk, file, body))

    def drop(self, name: Name) -> None:
        """Deletes a batch that has arrived, or to make room. If a power cut brings a batch back, that does no harm."""
        if (known := self._files.pop(name, None)) is not None:
            self._disk.delete(known[0])

    def _size_bytes(self) -> int:
        return sum(size_bytes for _, size_bytes in self._files.values())
