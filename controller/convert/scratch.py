"""The directory to which a conversion child may write, for its parent: measured, read with checks, removed.

Decides that a file's name in it is never trusted. Refuses to know what the files mean.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput, Code

MAX_ENTRIES = 1000
"""Files and folders that a child may make; a correct conversion with every variant makes 30."""


@contextmanager
def scratch_directory(within: Path | None = None) -> Iterator[Path]:
    """Yields a new directory and removes it afterwards, with everything in it.

    `within`: the parent directory; None: that of temporary files, which may be in memory.
    """
    directory = Path(tempfile.mkdtemp(prefix="edgeward-convert-", dir=within)).resolve()
    try:
        yield directory
    finally:
        _remove(directory)


def excess(directory: Path, allowed_mb: int) -> str:
    """Returns in words which limit the content of `directory` exceeds; an empty text if it exceeds none."""
    blocks = 0
    for count, entry in enumerate(_walk(directory), start=1):
        blocks += entry.stat(follow_symlinks=False).st_blocks
        if count > MAX_ENTRIES:
            return f"made more than {MAX_ENTRIES} files"
    return f"wrote more than {allowed_mb} MB" if blocks * 512 > allowed_mb * 2**20 else ""


def read_file(path: Path, allowed_mb: int) -> bytes:
    """Returns the bytes of a regular file. BadInput as `open_file`."""
    with open_file(path, allowed_mb) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def open_file(path: Path, allowed_mb: int) -> BinaryIO:
    """Opens a regular file to be read.

    BadInput `conversion_failed` for a link, a pipe, a missing or too large file.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion left no {path.name}: {error.strerror}") from None
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode) or found.st_size > allowed_mb * 2**20:
        os.close(opened)
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion left a {path.name} that is no file, or too large")
    return os.fdopen(opened, "rb")


def _walk(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Yields every entry below, folders before their content.

    It does not use recursion, which a child could make fail.
    """
    folders: list[str | Path] = [directory]
    while folders:
        try:
            found = list(os.scandir(folders.pop()))
        except OSError:  # removed in the meantime
            continue
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def _remove(directory: Path) -> None:
    folders = [str(directory)]
    for entry in _walk(directory):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        else:
            Path(entry.path).unlink(missing_ok=True)
    for folder in sorted(folders, key=len, reverse=True):
        Path(folder).rmdir()
