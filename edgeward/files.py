"""Files that are whole or not there: written beside their name, synced, renamed.

Decides the order: content, sync of the file, rename, sync of the directory. Refuses to know what is written.
"""

import os
from pathlib import Path

PUBLIC = 0o644
PRIVATE = 0o600
"""For keys and passwords: the owner alone."""


def write_whole(path: Path, data: bytes | str, *, mode: int = PUBLIC) -> None:
    """Replaces the file at `path` with `data`; text as UTF-8. After a power cut the old or the new file is there.

    OSError as the disk says it; the old file stays then, and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)  # left by a power cut; its mode may be another
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
    """Renames a file within its directory, for good."""
    path.rename(to)
    sync_directory(to.parent)


def sync_directory(directory: Path) -> None:
    """Writes the directory's names to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
