"""A backup: one file with all that a controller needs after a restore, made while it runs or is stopped.

Decides what belongs to it and in which order it is copied: rows before the documents that they name, documents
before blobs and keys. None of those is ever deleted, so everything that a copied row names is in the file, also if
the controller writes at the same time. The format is a tar without compression; its last member is the list of all
others with their digests. Refuses to know what rows and documents mean.
"""

import hashlib
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from contract.errors import BadInput, Code, WorldError
from contract.names import is_digest
from contract.protocol import VERSION
from contract.wire import Said, encode
from controller.registry.atomic_file import sync_directory

FORMAT = 1
LIST = "backup.json"
"""The last member of the file."""
PRIVATE = 0o600
SCRATCH = "restoring"
"""The directory of unfinished backup files; a controller does not start while it exists."""
ASIDE = "before-restore-"
"""The beginning of the name of the directory to which a restore moves the former files."""
LEFT_OUT = ("lock", "controller.json", "incoming", SCRATCH)
"""Files that belong to a process or to one request."""
BROKER, OF_THE_BROKER = "broker", ("password",)
"""The parts of a started broker: only its password is kept, because everything else is written at every start or
published again."""
PASSING = (".new", "-wal", "-shm", "-journal")
"""Ends of names of temporary files: files that are being written, and SQLite's own beside a database."""
BLOCK_BYTES = 1 << 20


class BackedUpFile(Said, frozen=True):
    """One file of a backup."""

    sha256: str
    size_bytes: int


class BackupList(Said, frozen=True):
    """What a backup holds."""

    format: int
    version: str
    """The version of the controller's program that made it."""
    made_at: str
    files: dict[str, BackedUpFile]
    """The files by path within the data directory."""

    @property
    def secrets(self) -> list[str]:
        """Secret files: with them anyone could act as this controller."""
        return [path for path in sorted(self.files) if path in ("token", "broker/password") or path.endswith(_KEYS)]


_KEYS = (".pem", ".key")


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written, and the blobs that were already damaged and are not in it."""

    contents: BackupList
    damaged: list[str]


def back_up(data_dir: Path, file: Path, made_at: str) -> Backup:
    """Writes a backup of the controller in `data_dir` to a new file that only its owner may read.

    BadInput `config_invalid`: there is no controller, or `file` exists. WorldError `disk_full`: then there is no file.
    """
    if not (data_dir / "fleet.sqlite").is_file():
        raise BadInput(Code.CONFIG_INVALID, f"{data_dir} holds no controller: name its directory with --data-dir")
    if file.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{file} exists: a backup never overwrites another one")
    beside = file.with_name(f".{file.name}.new")
    try:
        with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as scratch:
            made = _write(data_dir, beside, made_at, Path(scratch))
        beside.rename(file)
        sync_directory(file.parent)
    except (OSError, sqlite3.Error) as error:
        raise WorldError(Code.DISK_FULL, f"{file}: {error}; no backup was made") from error
    finally:
        beside.unlink(missing_ok=True)
    return made


def _write(data_dir: Path, beside: Path, made_at: str, scratch: Path) -> Backup:
    beside.unlink(missing_ok=True)
    files: dict[str, BackedUpFile] = {}
    damaged = []
    opened = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb")
    with opened as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _in_order(data_dir):
            if _is_damaged_blob(data_dir / path):
                damaged.append(path.name)
                continue
            source = _copied(data_dir / path, scratch) if path.suffix == ".sqlite" else data_dir / path
            try:
                files[str(path)] = _add(archive, str(path), source)
            except FileNotFoundError:
                continue  # it was temporary: permanent files are never deleted
        contents = BackupList(format=FORMAT, version=VERSION, made_at=made_at, files=files)
        body = encode(contents)
        archive.addfile(_member(LIST, len(body)), BytesIO(body))
        archive.close()
        raw.flush()
        os.fsync(raw.fileno())
    return Backup(contents, damaged)


def _paths(data_dir: Path) -> Iterator[PurePosixPath]:
    """Files that belong to a backup, relative to the data directory."""
    for path in sorted(data_dir.rglob("*")):
        relative = PurePosixPath(path.relative_to(data_dir).as_posix())
        first = relative.parts[0]
        if first in LEFT_OUT or first.startswith(ASIDE) or path.name.endswith(PASSING) or path.is_symlink():
            continue
        if first == BROKER and relative.parts[1:] != OF_THE_BROKER:
            continue
        if path.is_file():
            yield relative


def _in_order(data_dir: Path) -> Iterator[PurePosixPath]:
    """Orders files that name others first, and named ones last: they are listed after the rows that name them were
    copied.
    """

    def place(path: PurePosixPath) -> tuple[int, str]:
        if path.suffix == ".sqlite":
            return 0 if path.name == "fleet.sqlite" else 1, str(path)
        return {"tables": 2, "blobs": 4}.get(path.parts[0], 3), str(path)

    databases = sorted((path for path in _paths(data_dir) if path.suffix == ".sqlite"), key=place)
    yield from databases
    yield from sorted((path for path in _paths(data_dir) if path.suffix != ".sqlite"), key=place)


def _copied(database: Path, scratch: Path) -> Path:
    """Copies the state of a database at one moment to a separate file, while others write to it."""
    copy = scratch / database.name
    source, target = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(copy)
    try:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.close()
        target.close()
    return copy


def _add(archive: tarfile.TarFile, name: str, source: Path) -> BackedUpFile:
    """Copies a file into the archive. If a file is replaced during the copy, its former content is copied."""
    with source.open("rb") as file:
        hashed = _Hashed(file)
        size_bytes = os.fstat(file.fileno()).st_size
        archive.addfile(_member(name, size_bytes), hashed)  # type: ignore[arg-type]  # it only reads
    return BackedUpFile(sha256=hashed.sha.hexdigest(), size_bytes=size_bytes)


class _Hashed:
    """A file whose bytes are hashed while other code reads them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha = hashlib.sha256()

    def read(self, size_bytes: int) -> bytes:
        data = self._file.read(size_bytes)
        self.sha.update(data)
        return data


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, PRIVATE
    return member


def _is_damaged_blob(path: Path) -> bool:
    """Whether a file is named by a digest that its bytes do not have."""
    if not is_digest(path.name):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != path.name
