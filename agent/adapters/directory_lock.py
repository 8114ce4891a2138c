"""A lock on a directory that one process holds at a time. It ends with the process, however that ends."""

import fcntl
from pathlib import Path
from typing import TextIO

from contract.errors import Code, WorldError


def lock_directory(directory: Path) -> TextIO:
    """Locks the directory until the returned file is closed; WorldError `disk_failed` if another agent has it."""
    file = (directory / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{directory} belongs to another running agent") from None
    return file
