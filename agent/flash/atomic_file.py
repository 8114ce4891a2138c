"""Files that are whole or absent: written beside their name, synced, renamed; records with a checksum in front.

Decides the order that survives a power cut, and names what the medium refused. Every file of the agent that must be
whole is written here. Refuses to know what a file holds.
"""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from agent.ports import Disk
from contract.errors import BadInput, Code, WorldError

TEMPORARY = "tmp-"
"""Begins the name of a file that is being written; after a power cut it is of no use."""


def write_atomic(disk: Disk, name: str, body: bytes) -> int:
    """Makes `body` durable under `name` with its checksum; returns the file's size. WorldError as `replace`."""
    raw = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    replace(disk, name, raw)
    return len(raw)


def replace(disk: Disk, name: str, content: bytes) -> None:
    """Makes `content` durable under `name`; until then the old content stays. WorldError `disk_full`, `disk_failed`."""
    prepare(disk, name, content)
    take_over(disk, name)


def prepare(disk: Disk, name: str, content: bytes) -> None:
    """Makes `content` durable beside `name`, for `take_over`: files that belong together are all prepared first."""
    with medium():
        disk.write(f"{TEMPORARY}{name}", content)
        disk.sync(f"{TEMPORARY}{name}")


def take_over(disk: Disk, name: str) -> None:
    """Gives what was prepared its name, durably."""
    with medium():
        disk.rename(f"{TEMPORARY}{name}", name)
        disk.sync_directory()


def read_atomic(disk: Disk, name: str) -> bytes:
    """Returns what was committed; BadInput `record_corrupt` if the checksum does not match, FileNotFoundError."""
    checksum, _, body = disk.read(name).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise BadInput(Code.RECORD_CORRUPT, f"{name}: checksum does not match")
    return body


@contextmanager
def medium(*, gone: str = "") -> Iterator[None]:
    """Turns what the medium refused into WorldError; with `gone` a missing file is `digest_mismatch` in these words."""
    try:
        yield
    except OSError as error:
        if gone and isinstance(error, FileNotFoundError):
            raise WorldError(Code.DIGEST_MISMATCH, gone) from None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = Code.DISK_FULL if full else Code.DISK_FAILED
        raise WorldError(code, f"{error.strerror or error}") from error
