"""Files that are complete or absent: written under a temporary name, synced, renamed.

Decides the order: content, sync of the file, rename, sync of the directory. Refuses to know what is written.
"""

import os
from pathlib import Path

PUBLIC = 0o644
PRIVATE = 0o600
"""The mode of files with keys and passwords: only the owner may read them."""


def write_whole(path: Path, data: bytes | str, *, mode: int = PUBLIC) -> None:
    """Replaces the file at `path` with `data`; text is written as UTF-8. After a power cut the old or the new file
    exists.

    OSError if the disk refuses; then the old file stays, and no temporary file.
    """
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)  # left by a power cut, perhaps with another mode
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def move(path: Path, to: Path) -> None:
    """Renames a file within its directory, durably."""
    path.rename(to)
    sync_directory(to.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
