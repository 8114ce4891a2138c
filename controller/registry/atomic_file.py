"""Replaces a file as a whole: after a crash or on a full disk it has its old content or its new one.

Decides the order: write, sync, rename, sync the directory. Refuses to know what the file holds.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contract.errors import Code, WorldError


def replace_file(path: Path, data: bytes) -> None:
    """Replaces the content of `path` durably. WorldError `disk_full` keeps the old content.

    `file.write` raises on a short write; `os.write` would not.
    """
    with _beside(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def link_file(file: Path, path: Path) -> None:
    """Gives a file a second name durably, or copies it if the file system has no such names or is another one.

    WorldError `disk_full` keeps the old content of `path`.
    """
    with _beside(path) as beside:
        beside.unlink(missing_ok=True)
        try:
            os.link(file, beside, follow_symlinks=False)
        except OSError:
            shutil.copyfile(file, beside)
        with beside.open("rb") as made:
            os.fsync(made.fileno())


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yields the path of a file that takes the name `path` durably at the end of the block."""
    beside = path.with_name(f"{path.name}.new")
    try:
        yield beside
        beside.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise WorldError(Code.DISK_FULL, f"{path}: {error.strerror}; what was stored before is intact") from error


def sync_directory(path: Path) -> None:
    """Makes renames in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
