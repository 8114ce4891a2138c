"""Files that are complete or absent: written under a temporary name, synced, renamed; records begin with a checksum.

Decides the order of operations that survives a power cut, and the error if the medium refuses. The agent writes
every file that must be complete with this module. Refuses to know what a file holds.
"""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from agent.ports import Disk
from contract.errors import BadInput, Code, WorldError

TEMPORARY = "tmp-"
"""The prefix of a file that is being written. After a power cut such a file is useless."""


def write_atomic(disk: Disk, name: str, body: bytes) -> int:
    """Makes `body` durable under `name`, with its checksum. Returns the file's size in bytes.

    WorldError as in `replace`.
    """
    raw = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    replace(disk, name, raw)
    return len(raw)


def replace(disk: Disk, name: str, content: bytes) -> None:
    """Makes `content` durable under `name`; before that, the old content stays.

    WorldError `disk_full` or `disk_failed`.
    """
    prepare(disk, name, content)
    take_over(disk, name)


def prepare(disk: Disk, name: str, content: bytes) -> None:
    """Makes `content` durable under a temporary name, for `take_over`.

    Files that belong together are all prepared first.
    """
    with medium():
        disk.write(f"{TEMPORARY}{name}", content)
        disk.sync(f"{TEMPORARY}{name}")


def take_over(disk: Disk, name: str) -> None:
    """Renames the prepared file to `name` and makes that durable."""
    with medium():
        disk.rename(f"{TEMPORARY}{name}", name)
        disk.sync_directory()


def read_atomic(disk: Disk, name: str) -> bytes:
    """Returns the body under `name`. BadInput `record_corrupt` if the checksum differs; FileNotFoundError if it is
    missing.
    """
    checksum, _, body = disk.read(name).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise BadInput(Code.RECORD_CORRUPT, f"{name}: checksum does not match")
    return body


@contextmanager
def medium(*, gone: str = "") -> Iterator[None]:
    """Turns errors of the medium into WorldError.

    With `gone`, a missing file becomes `digest_mismatch` with this text.
    """
    try:
        yield
    except OSError as error:
        if gone and isinstance(error, FileNotFoundError):
            raise WorldError(Code.DIGEST_MISMATCH, gone) from None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = Code.DISK_FULL if full else Code.DISK_FAILED
        raise WorldError(code, f"{error.strerror or error}") from error
