"""Runs on disk: a directory for each with `run.json` and `metrics.jsonl`, and blobs by their digest beside them.

Decides when each file is durable, and that a run whose process ended without a report is broken: the process holds
a lock on the run's file `lock`, which the kernel releases after any end of the process. Refuses to know how a run
is made.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from contract.errors import BadInput, Code, WorldError
from contract.run_record import Point, Record
from edgeward.files import write_whole

DIRECTORY = Path(".edgeward") / "runs"
"""The directory of runs below the current one, unless EDGEWARD_RUNS_DIR names another."""
RECORD, METRICS, LOCK, BLOBS = "run.json", "metrics.jsonl", "lock", "blobs"
REPRODUCED = "EDGEWARD_REPRODUCE"
"""The environment variable that tells a process that it repeats a run (`edgeward.runs.repeated`)."""
MAX_RUNS = 10_000
"""The most runs in one directory: to list so many takes a second. `edgeward run delete` makes room."""
MAX_BLOB_BYTES = 1 << 30
"""The largest artifact. Larger ones belong into their own store, and their digest into a parameter."""


def runs_directory(directory: Path | None = None) -> Path:
    """The directory of runs: the argument, then EDGEWARD_RUNS_DIR, then `.edgeward/runs` here.

    In a process that repeats a run it is the reproduction's own, also if the script names another.
    """
    if REPRODUCED in os.environ:
        directory = None
    return (directory or Path(os.environ.get("EDGEWARD_RUNS_DIR") or DIRECTORY)).expanduser().absolute()


class RunStore:
    """One directory of runs. WorldError `disk_full` if the disk refuses."""

    def __init__(self, directory: Path | None = None, *, named: bool = False) -> None:
        self.directory = directory if named and directory is not None else runs_directory(directory)

    def hold(self, run: str) -> IO[bytes]:
        """Makes the directory of a new run; returns the open file whose lock shows that its process lives."""
        if len(self.names()) >= MAX_RUNS:
            words = f"{self.directory} holds {MAX_RUNS} runs: delete some, or set EDGEWARD_RUNS_DIR"
            raise BadInput(Code.REQUEST_INVALID, words)
        self._path(run).mkdir(parents=True)
        return self._lock(run)

    def _lock(self, run: str) -> IO[bytes]:
        file = (self._path(run) / LOCK).open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def save(self, record: Record) -> None:
        """Replaces the record of a run, durably."""
        try:
            write_whole(self._path(record.id) / RECORD, msgspec.json.format(msgspec.json.encode(record)))
        except OSError as error:
            raise WorldError(Code.DISK_FULL, f"{self._path(record.id)}: {error.strerror}") from None

    def names(self) -> list[str]:
        """Ids of all runs, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(each.name for each in self.directory.iterdir() if each.name[:1].isdigit() and each.is_dir())

    def load(self, run: str) -> Record:
        """Returns the record of a run by its id, a unique beginning of its id, or `newest`.

        BadInput `request_invalid` if there is none, or more than one.
        """
        name = self.find(run)
        try:
            record = msgspec.json.decode((self._path(name) / RECORD).read_bytes(), type=Record)
        except OSError:
            raise BadInput(Code.REQUEST_INVALID, f"run {name} ended before it had a record: delete it") from None
        except msgspec.MsgspecError as error:
            raise BadInput(Code.STORE_CORRUPT, f"{self._path(name) / RECORD}: {error}") from None
        gone = record.status == "running" and not self._is_held(name)
        return msgspec.structs.replace(record, status="broken") if gone else record

    def find(self, run: str) -> str:
        """The whole id of a run, as `load` finds it."""
        names = self.names()
        found = names[-1:] if run == "newest" else [each for each in names if each == run or each.startswith(run)]
        if len(found) == 1 or run in found:
            return run if run in found else found[0]
        words = f"{len(found)} runs begin so: {', '.join(found[:3])}" if found else "see `edgeward run list`"
        raise BadInput(Code.REQUEST_INVALID, f"no run {run[:64]!r} in {self.directory}; {words}")

    def all(self) -> Iterator[Record]:
        """Every record that can be read, newest first."""
        for name in reversed(self.names()):
            try:
                yield self.load(name)
            except BadInput:
                continue

    def points(self, run: str) -> list[Point]:
        """Returns every number of the metrics of a run, in order. An incomplete last line after a power cut is left
        out.
        """
        path = self._path(run) / METRICS
        if not path.is_file():
            return []
        found = []
        for line in path.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=Point))
            except msgspec.MsgspecError:
                continue
        return found

    def append(self, run: str, points: list[Point]) -> None:
        """Appends numbers of metrics. They survive the process at once, and a power cut after some seconds."""
        lines = b"".join(msgspec.json.encode(point) + b"\n" for point in points)
        try:
            with (self._path(run) / METRICS).open("ab", buffering=0) as file:
                file.write(lines)
        except OSError as error:
            raise WorldError(Code.DISK_FULL, f"{self._path(run)}: {error.strerror}") from None

    def put(self, content: bytes) -> str:
        """Stores bytes under their SHA-256, which is returned; existing ones are not written again."""
        if len(content) > MAX_BLOB_BYTES:
            raise BadInput(
                Code.REQUEST_INVALID, f"{len(content)} bytes, limit {MAX_BLOB_BYTES}: log its digest instead"
            )
        digest = hashlib.sha256(content).hexdigest()
        path = self.directory / BLOBS / digest
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_whole(path, content)
            except OSError as error:
                raise WorldError(Code.DISK_FULL, f"{path}: {error.strerror}") from None
        return digest

    def get(self, digest: str) -> bytes:
        """Returns the bytes of a digest. WorldError `digest_mismatch` if they are missing or were changed."""
        path = self.directory / BLOBS / digest
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise WorldError(Code.DIGEST_MISMATCH, f"{path} is gone or was changed")
        return content

    def remove(self, digest: str) -> None:
        """Deletes a blob; one that is gone is no error. Records that name it stay."""
        (self.directory / BLOBS / digest).unlink(missing_ok=True)

    def directory_of(self, run: str) -> Path:
        """Returns the directory with the files of a run."""
        return self._path(run)

    def _path(self, run: str) -> Path:
        return self.directory / run

    def _is_held(self, run: str) -> bool:
        """Whether a process holds the lock of a run."""
        try:
            with (self._path(run) / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
