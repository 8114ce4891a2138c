"""The Disk port on simulated flash: data that is not synced may be lost or torn when power fails.

Content is durable after `sync`, names after `sync_directory`. A rename is one operation, but it is pending until then.
At a cut, every unsynced file is kept, lost or torn sector by sector. Of the pending name changes, the first ones
survive, in their order, as on a journaling file system. Invariant: synced data is never lost.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from firmware_sim.power import Power, PowerCut

SECTOR_BYTES = 512

Names = dict[str, int]
NameChange = Callable[[Names], None]


@lru_cache(maxsize=1024)
def _one_copy(data: bytes) -> bytes:
    """Returns one shared copy: thousands of devices hold the same metadata and blobs."""
    return data


@dataclass
class _File:
    synced: bytes = b""
    current: bytes = b""


@dataclass
class Flash:
    """One device's flash. `capacity_bytes` bounds the sum of all files."""

    rng: Random
    power: Power = field(default_factory=Power)
    capacity_bytes: int = 1 << 40
    written_bytes: int = 0
    """The wear: the number of bytes that were ever written."""
    _files: dict[int, _File] = field(default_factory=dict)
    _names: Names = field(default_factory=dict)
    _durable_names: Names = field(default_factory=dict)
    _pending: list[NameChange] = field(default_factory=list)
    _next: int = 0

    def read(self, name: str) -> bytes:
        """Returns the whole file as the running system sees it."""
        return self._file(name).current

    def read_at(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Returns up to `size_bytes` from `offset`."""
        return self._file(name).current[offset : offset + size_bytes]

    def write(self, name: str, data: bytes) -> None:
        """Creates the file or replaces its content. OSError ENOSPC if flash is full."""
        self._room(len(data) - (self.size_bytes(name) if name in self._names else 0))
        self._write(name, data, data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Writes into a file; creates or extends it. FileNotFoundError if the file ends before `offset`."""
        before = self._file(name).current if name in self._names else b""
        if len(before) < offset:
            raise FileNotFoundError(f"{name}: ends before {offset}")
        after = before[:offset] + data + before[offset + len(data) :]
        self._room(len(after) - len(before))
        self._write(name, after, data)

    def sync(self, name: str) -> None:
        """Makes the content durable."""
        file = self._file(name)
        self._draw()
        file.synced = file.current

    def sync_directory(self) -> None:
        """Makes the names durable."""
        self._draw()
        self._durable_names = dict(self._names)
        self._pending.clear()

    def rename(self, source: str, target: str) -> None:
        """Renames a file. The change of names is pending until `sync_directory`."""
        self._file(source)
        self._draw()

        def change(names: Names) -> None:
            if source in names:
                names[target] = names.pop(source)

        self._change(change)

    def delete(self, name: str) -> None:
        """Deletes a file; a missing one is not an error. The change is pending until `sync_directory`."""
        if name in self._names:
            self._draw()

            def change(names: Names) -> None:
                names.pop(name, None)

            self._change(change)

    def names(self) -> Sequence[str]:
        """Returns all names, sorted."""
        return sorted(self._names)

    def has(self, name: str) -> bool:
        """Tells whether there is such a file, as the running system sees it."""
        return name in self._names

    def size_bytes(self, name: str) -> int:
        """Returns the length of a file in bytes."""
        return len(self._file(name).current)

    def free_bytes(self) -> int:
        """Returns the free bytes."""
        return self.capacity_bytes - sum(len(self._files[number].current) for number in self._names.values())

    def path(self, name: str) -> str:
        """Returns the name itself: the simulated runtime opens files by name."""
        return name

    def image(self) -> dict[str, bytes]:
        """Returns what a backup of the card holds: every durable file by its name."""
        return {name: self._files[number].synced for name, number in self._durable_names.items()}

    def load(self, files: dict[str, bytes]) -> None:
        """Replaces everything by the files of another card."""
        self._files = {number: _File(data, data) for number, data in enumerate(files.values())}
        self._names = {name: number for number, name in enumerate(files)}
        self._durable_names = dict(self._names)
        self._pending.clear()
        self._next = len(files)

    def lose_power(self) -> None:
        """Replaces the content by what the medium holds when power returns."""
        for change in self._pending[: self.rng.randint(0, len(self._pending))]:
            change(self._durable_names)
        self._pending.clear()
        self._names = dict(self._durable_names)
        for _, file in sorted(self._files.items()):
            if file.current != file.synced:
                file.current = file.synced = self._torn(file)

    def _torn(self, file: _File) -> bytes:
        fate = self.rng.choice(("kept", "lost", "torn"))
        if fate == "kept":
            return file.current
        if fate == "lost":
            return file.synced
        length = self.rng.choice((len(file.current), len(file.synced), self.rng.randint(0, len(file.current))))
        old, new = file.synced.ljust(length, b"\0"), file.current.ljust(length, b"\0")
        sectors = range(0, length, SECTOR_BYTES)
        return b"".join(self.rng.choice((old, new))[at : at + SECTOR_BYTES] for at in sectors)[:length]

    def _write(self, name: str, content: bytes, data: bytes) -> None:
        content = _one_copy(content)
        cut = self.power.draw()
        self.written_bytes += len(data)
        if name not in self._names:
            number = self._next
            self._next += 1
            self._files[number] = _File()
            self._change(lambda names: names.update({name: number}))
        if cut:
            keep = len(content) - self.rng.randint(0, len(data))
            self._files[self._names[name]].current = content[:keep]
            raise PowerCut
        self._files[self._names[name]].current = content

    def _change(self, change: NameChange) -> None:
        change(self._names)
        self._pending.append(change)

    def _draw(self) -> None:
        if self.power.draw():
            raise PowerCut

    def _file(self, name: str) -> _File:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return self._files[self._names[name]]

    def _room(self, more_bytes: int) -> None:
        if more_bytes > self.free_bytes():
            raise OSError(errno.ENOSPC, "No space left on device")
