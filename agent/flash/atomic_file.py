"""Files that are whole or not there: written beside their name, synced, renamed, with a checksum before the content.

Decides the order that survives a power cut, and names what the medium refused. Refuses to know what a file holds.
"""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from agent.ports import Disk
from contract.errors import BadInput, Code, WorldError


def commit(disk: Disk, name: str, body: bytes) -> int:
    """Make `body` durable under `name`; the file's size in bytes. WorldError `disk_full` or `disk_failed`."""
    raw = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    with medium():
        disk.write(f"tmp-{name}", raw)
        disk.sync(f"tmp-{name}")
        disk.rename(f"tmp-{name}", name)
        disk.sync_directory()
    return len(raw)


def read_committed(disk: Disk, name: str) -> bytes:
    """What was committed; BadInput `record_corrupt` if the checksum does not match, FileNotFoundError."""
    checksum, _, body = disk.read(name).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise BadInput(Code.RECORD_CORRUPT, f"{name}: checksum does not match")
    return body


@contextmanager
def medium(*, gone: str = "") -> Iterator[None]:
    """Name what the medium refused; `gone`: what a missing file means, if that is WorldError `digest_mismatch`."""
    try:
        yield
    except OSError as error:
        if gone and isinstance(error, FileNotFoundError):
            raise WorldError(Code.DIGEST_MISMATCH, gone) from None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = Code.DISK_FULL if full else Code.DISK_FAILED
        raise WorldError(code, f"{error.strerror or error}") from error
