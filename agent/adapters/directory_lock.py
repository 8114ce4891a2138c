"""A lock on a directory that one process holds at a time. It ends with the process, however that ends."""

import fcntl
from pathlib import Path
from typing import TextIO

from contract.errors import Code, WorldError


def lock_directory(directory: Path) -> TextIO:
    """Locks the directory until the returned file is closed; WorldError `disk_failed` if another agent has it."""
    file = _open(directory / "lock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{directory} belongs to another running agent") from None
    return file


def _open(path: Path) -> TextIO:
    """The lock file, made where it is missing; on a read-only or full disk the one that is there locks as well."""
    try:
        return path.open("w")
    except OSError as error:
        try:
            return path.open("r")
        except OSError:
            raise WorldError(Code.DISK_FAILED, f"{path}: {error.strerror}") from None
