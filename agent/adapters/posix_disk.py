"""The Disk port on a POSIX directory. Refuses to know what the files mean."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o600
PIECE_BYTES = 32 * 1024
"""Written at a time. Linux takes page cache in pieces as large as the write, and above this from memory that the host
of a virtual machine may have taken back: a chunk of 256 KiB in one piece cost up to half as much again."""


class PosixDisk:
    """Files for their owner alone, whatever the umask, in a directory of mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            with suppress(PermissionError):  # somebody else's, and shared on purpose
                directory.chmod(0o700)

    def read(self, name: str) -> bytes:
        """The whole file."""
        return (self._directory / name).read_bytes()

    def read_at(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` from `offset`."""
        with (self._directory / name).open("rb") as file:
            file.seek(offset)
            return file.read(size_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the content. Python's buffered write raises on a short write; os.write would not."""
        with open(self.path(name), "wb", opener=_private) as file:
            file.write(data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write into a file, creating or growing it; FileNotFoundError for what should come before `offset`."""
        descriptor = os.open(self.path(name), os.O_WRONLY | (0 if offset else os.O_CREAT), FILE_MODE)
        try:
            if os.fstat(descriptor).st_size < offset:
                raise FileNotFoundError(f"{name}: ends before {offset}")
            view, written = memoryview(data), 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written : written + PIECE_BYTES], offset + written)
        finally:
            os.close(descriptor)

    def sync(self, name: str) -> None:
        """fsync the file."""
        _fsync(self._directory / name)

    def sync_directory(self) -> None:
        """fsync the directory."""
        _fsync(self._directory)

    def rename(self, source: str, target: str) -> None:
        """Atomic replacement."""
        (self._directory / source).replace(self._directory / target)

    def delete(self, name: str) -> None:
        """Remove; missing is fine."""
        (self._directory / name).unlink(missing_ok=True)

    def names(self) -> Sequence[str]:
        """All names, sorted."""
        return sorted(entry.name for entry in self._directory.iterdir() if entry.is_file())

    def size_bytes(self, name: str) -> int:
        """Length of a file."""
        return (self._directory / name).stat().st_size

    def free_bytes(self) -> int:
        """Space left on the file system."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def path(self, name: str) -> str:
        """Absolute path."""
        return f"{self._directory}{os.sep}{name}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
