"""Batches that wait on flash for the controller, in a bounded queue of files that survives power loss.

Decides names, order and losses: beyond the limit the oldest batch is dropped, because newer ones tell more. Refuses to
know what a batch holds. Invariant: a file whose name has no prefix ``tmp-`` is complete and durable.
"""

from agent.flash.atomic_file import read_atomic, write_atomic
from agent.ports import Disk
from contract.errors import BadInput

PREFIX = "captured-"
MAX_FILES = 4096
Name = tuple[int, int]
"""(boot, seq) of a batch."""


class Spool:
    """A queue, first in, first out. Raises WorldError `disk_full` or `disk_failed` when the medium refuses."""

    def __init__(self, disk: Disk, max_bytes: int) -> None:
        self._disk = disk
        self._max_bytes = max_bytes
        self._sizes: dict[Name, int] = {}
        for name in disk.names():
            if name.startswith(PREFIX):
                boot, _, seq = name.removeprefix(PREFIX).partition("-")
                self._sizes[int(boot), int(seq)] = disk.size_bytes(name)
            else:
                disk.delete(name)  # written in part before a power cut: no other program uses the directory

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, name: Name, body: bytes) -> int:
        """Makes a batch durable. Returns the number of old batches that were dropped for it."""
        given_up = 0
        while self._sizes and (sum(self._sizes.values()) + len(body) > self._max_bytes or len(self) >= MAX_FILES):
            self.drop(min(self._sizes))
            given_up += 1
        self._sizes[name] = write_atomic(self._disk, _file(name), body)
        return given_up

    def oldest(self) -> tuple[Name, bytes] | None:
        """Returns the batch to send next; None if none waits. Drops damaged batches."""
        while self._sizes:
            name = min(self._sizes)
            try:
                return name, read_atomic(self._disk, _file(name))
            except (OSError, BadInput):
                self.drop(name)
        return None

    def drop(self, name: Name) -> None:
        """Deletes a batch that was acknowledged or must make room. If a power cut restores it, that does no harm."""
        if self._sizes.pop(name, None) is not None:
            self._disk.delete(_file(name))


def _file(name: Name) -> str:
    return f"{PREFIX}{name[0]}-{name[1]}"
