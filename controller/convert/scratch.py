"""The directory that a conversion child may write to, as its parent sees it: measured, read with suspicion, removed.

Decides that nothing in it is believed to be what its name says. Refuses to know what the files mean.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import BadInput, Code

MAX_ENTRIES = 1000
"""Files and folders; an honest conversion with every variant leaves 30."""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A new directory, gone afterwards whatever a child has put there."""
    directory = Path(tempfile.mkdtemp(prefix="edgeward-convert-"))
    try:
        yield directory
    finally:
        _remove(directory)


def excess(directory: Path, allowed_mb: int) -> str:
    """What is too much in `directory`, in words; empty while it keeps within its bounds."""
    blocks = 0
    for count, entry in enumerate(_walk(directory), start=1):
        blocks += entry.stat(follow_symlinks=False).st_blocks
        if count > MAX_ENTRIES:
            return f"made more than {MAX_ENTRIES} files"
    return f"wrote more than {allowed_mb} MB" if blocks * 512 > allowed_mb * 2**20 else ""


def read_file(path: Path, allowed_mb: int) -> bytes:
    """A regular file that a child has left; BadInput `conversion_failed` for a link, a pipe, or nothing at all."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion left no {path.name}: {error.strerror}") from None
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode) or found.st_size > allowed_mb * 2**20:
        os.close(opened)
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion left a {path.name} that is no file, or too large")
    with os.fdopen(opened, "rb") as file:
        return file.read(found.st_size)


def _walk(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below, folders before what they hold; without recursion, which a child could exhaust."""
    folders: list[str | Path] = [directory]
    while folders:
        try:
            found = list(os.scandir(folders.pop()))
        except OSError:  # gone meanwhile
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
