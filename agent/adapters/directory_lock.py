"""A lock on a directory, which one process at a time can hold. It ends with its process, even after a crash.

Decides what happens on a disk that refuses writes. Refuses to know what the directory holds.
"""

import fcntl
from pathlib import Path
from typing import TextIO

from contract.errors import Code, WorldError


def lock_directory(directory: Path) -> TextIO:
    """Locks the directory until the returned file is closed. WorldError `disk_failed` if another agent holds it."""
    file = _open(directory / "lock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{directory} belongs to another running agent") from None
    return file


def _open(path: Path) -> TextIO:
    """Opens the lock file, and makes it if it is missing. On a read-only or full disk opens an existing one to read."""
    try:
        return path.open("w")
    except OSError as error:
        try:
            return path.open("r")
        except OSError:
            raise WorldError(Code.DISK_FAILED, f"{path}: {error.strerror}") from None
