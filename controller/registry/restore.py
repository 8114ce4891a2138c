"""Turns a backup into a data directory again: completely or not at all.

Decides that every file is checked before any is put in place, and that the former files are moved aside and never
deleted. Refuses to know what files mean; `verbs.restored` does what follows once the controller starts.
"""

import hashlib
import os
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput, Code, WorldError
from contract.wire import Said, decode, encode
from controller.registry.atomic_file import sync_directory
from controller.registry.backup import ASIDE, BLOCK_BYTES, FORMAT, LIST, PRIVATE, SCRATCH, BackedUpFile, BackupList

MAX_LIST_BYTES = 64 << 20
"""The largest list of files: 400,000 of them."""
MARK = "restored.json"
"""The file that tells the next start of the controller that it was restored, and from when."""
_PATH = re.compile(r"[A-Za-z0-9._%-]+(/[A-Za-z0-9._%-]+){0,3}\Z")


class Restored(Said, frozen=True):
    """The state of a restored data directory until its controller has handled it."""

    backed_up_at: str
    restored_at: str


def restore(file: Path, data_dir: Path, *, replace: bool, now: str) -> tuple[BackupList, Path | None]:
    """Puts the content of a backup into `data_dir`; returns its list, and where the former files are now.

    The caller holds the directory's lock. BadInput `backup_invalid`, and `config_invalid` for a directory that is not
    empty unless `replace`; then nothing has changed. WorldError `disk_full`.
    """
    before = [path for path in data_dir.iterdir() if path.name not in ("lock", SCRATCH)]
    if before and not replace:
        raise BadInput(Code.CONFIG_INVALID, f"{data_dir} is not empty: --replace moves what is there aside")
    scratch = data_dir / SCRATCH
    with _disk(data_dir):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
    contents = _unpacked(file, scratch)
    with _disk(data_dir):
        mark = Restored(backed_up_at=contents.made_at, restored_at=now)
        _written(BytesIO(encode(mark)), scratch / MARK)
        for directory in (scratch, *(path for path in scratch.rglob("*") if path.is_dir())):
            sync_directory(directory)
        aside = _moved_aside(before, data_dir / f"{ASIDE}{now.translate({ord(':'): None})}") if before else None
        for path in sorted(scratch.iterdir()):
            path.rename(data_dir / path.name)
        sync_directory(data_dir)
        scratch.rmdir()
        sync_directory(data_dir)
    return contents, aside


def check_whole(data_dir: Path) -> None:
    """Raises BadInput `store_corrupt` if a restore into this directory was begun and not completed."""
    if (data_dir / SCRATCH).exists():
        again = f"edgeward restore FILE --replace --data-dir {shlex.quote(str(data_dir))}"
        words = f"a restore into {data_dir} has not ended: run it again with the same FILE: {again}"
        raise BadInput(Code.STORE_CORRUPT, words)


def read_mark(data_dir: Path) -> Restored | None:
    """Returns the mark that a restore left for the controller that starts next; None if it was not restored."""
    try:
        return decode((data_dir / MARK).read_bytes(), Restored)
    except FileNotFoundError:
        return None


def remove_mark(data_dir: Path) -> None:
    """Removes the mark, once the controller has handled the restore."""
    (data_dir / MARK).unlink()
    sync_directory(data_dir)


def _unpacked(file: Path, scratch: Path) -> BackupList:
    """Writes every file of a backup, checked, below `scratch`; after a fault no file remains there."""
    try:
        with tarfile.open(file, mode="r:") as archive:
            contents = _list_of(archive)
            members = {member.name: member for member in archive.getmembers() if member.name != LIST}
            if missing := sorted(contents.files.keys() ^ members.keys()):
                raise BadInput(Code.BACKUP_INVALID, f"{file}: {missing[0][:80]!r} is not both in it and in its list")
            for name, listed in contents.files.items():
                _take(archive, members[name], listed, scratch)
    except (tarfile.TarError, EOFError, FileNotFoundError, IsADirectoryError) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise BadInput(Code.BACKUP_INVALID, f"{file} is no whole backup: {error}") from None
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise WorldError(Code.DISK_FULL, f"{scratch}: {error.strerror}; nothing was restored") from error
    except BadInput:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return contents


def _list_of(archive: tarfile.TarFile) -> BackupList:
    try:
        member = archive.getmember(LIST)
    except KeyError:
        raise BadInput(
            Code.BACKUP_INVALID, "it has no list of what it holds: it was cut off, or is no backup"
        ) from None
    found = archive.extractfile(member)
    if found is None or member.size > MAX_LIST_BYTES:
        raise BadInput(Code.BACKUP_INVALID, f"its list has {member.size} bytes, limit {MAX_LIST_BYTES}")
    try:
        contents = decode(found.read(), BackupList, max_bytes=MAX_LIST_BYTES)
    except BadInput as error:
        raise BadInput(Code.BACKUP_INVALID, f"its list cannot be read: {error.detail}") from None
    if contents.format != FORMAT:
        words = f"it was made by edgeward {contents.version}, in format {contents.format}; this one reads {FORMAT}"
        raise BadInput(Code.BACKUP_INVALID, words)
    return contents


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, listed: BackedUpFile, scratch: Path) -> None:
    source = archive.extractfile(member) if member.isreg() else None
    legal = _PATH.match(member.name) and not {".", ".."} & set(member.name.split("/"))
    if source is None or not legal or member.size != listed.size_bytes:
        raise BadInput(Code.BACKUP_INVALID, f"{member.name[:80]!r} is not the file that its list names")
    path = scratch / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _written(source, path) != listed.sha256:  # type: ignore[arg-type]  # tarfile's reader is a binary file
        raise BadInput(Code.BACKUP_INVALID, f"{member.name} is damaged: take another backup")


def _written(source: BinaryIO, path: Path) -> str:
    """Copies to a new file, durably; returns the SHA-256 of the bytes."""
    sha = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE), "wb") as file:
        while block := source.read(BLOCK_BYTES):
            sha.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return sha.hexdigest()


def _moved_aside(paths: list[Path], aside: Path) -> Path:
    aside.mkdir(mode=0o700)
    for path in paths:
        if not path.name.startswith(ASIDE):
            path.rename(aside / path.name)
    sync_directory(aside)
    return aside


@contextmanager
def _disk(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorldError(Code.DISK_FULL, f"{error.filename or data_dir}: {error.strerror}") from error
