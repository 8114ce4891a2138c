"""The Disk port on a POSIX directory. Decides nothing. Refuses to know what the files mean."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PRIVATE_MODE = 0o600
"""Only the agent's own user may read, with any umask."""
SHARED_MODE = 0o666
"""Other users may read, if the umask allows that: for files on a stick."""
PIECE_BYTES = 32 * 1024
"""Bytes written at a time. Linux allocates page cache in pieces as large as the write. Larger pieces come from memory
that the host of a virtual machine may have reclaimed: a chunk of 256 KiB in one piece took up to half as long again."""


class PosixDisk:
    """Files in one directory. They are created with `file_mode`, as far as the umask allows.

    The directory is created with mode 0700 unless `create` is False: a directory must not take the place of a stick
    that was removed.
    """

    def __init__(self, directory: Path, *, file_mode: int = PRIVATE_MODE, create: bool = True) -> None:
        self._directory = directory
        self._file_mode = file_mode
        if create:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, name: str) -> bytes:
        """Returns the whole file."""
        return (self._directory / name).read_bytes()

    def read_at(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Returns up to `size_bytes` from `offset`, fewer at the end of the file."""
        with (self._directory / name).open("rb") as file:
            file.seek(offset)
            return file.read(size_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Creates the file or replaces its content.

        Python's write raises an error where os.write would write only a part.
        """
        with open(self._directory / name, "wb", opener=self._open) as file:  # Path.open takes no opener
            file.write(data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Writes into a file; creates or extends it. FileNotFoundError if the file ends before `offset`."""
        descriptor = os.open(self.path(name), os.O_WRONLY | (0 if offset else os.O_CREAT), self._file_mode)
        try:
            if os.fstat(descriptor).st_size < offset:
                raise FileNotFoundError(f"{name}: ends before {offset}")
            view, written = memoryview(data), 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written : written + PIECE_BYTES], offset + written)
        finally:
            os.close(descriptor)

    def sync(self, name: str) -> None:
        """Makes the content of a file durable with fsync."""
        _fsync(self._directory / name)

    def sync_directory(self) -> None:
        """Makes names in the directory durable with fsync."""
        _fsync(self._directory)

    def rename(self, source: str, target: str) -> None:
        """Renames, replacing any other file of that name."""
        (self._directory / source).replace(self._directory / target)

    def delete(self, name: str) -> None:
        """Removes a file; a missing one is not an error."""
        (self._directory / name).unlink(missing_ok=True)

    def names(self) -> Sequence[str]:
        """Returns all names, sorted."""
        return sorted(entry.name for entry in self._directory.iterdir() if entry.is_file())

    def size_bytes(self, name: str) -> int:
        """Returns the length of a file."""
        return (self._directory / name).stat().st_size

    def free_bytes(self) -> int:
        """Returns the free bytes of the file system."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def path(self, name: str) -> str:
        """Returns the path that other programs may open."""
        return f"{self._directory}{os.sep}{name}"

    def _open(self, path: str, flags: int) -> int:
        return os.open(path, flags, self._file_mode)


def make_private(directory: Path) -> None:
    """Removes other users' access to a directory of this user that an older agent, or its installer, left open."""
    if directory.stat().st_mode & 0o077:
        with suppress(PermissionError):  # the directory of another user, who has given access on purpose
            directory.chmod(0o700)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
