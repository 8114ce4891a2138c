"""Results of steps by their address, stored beside the runs, so that nothing runs twice.

Decides what is stored for an address: the result, and the value as a blob. Refuses to know when a step must run.
"""

import fcntl
import hashlib
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BadInput, Code, WorldError
from edgeward.files import write_whole
from edgeward.pipelines.job import Outcome, Result
from edgeward.runs.store import RunStore

STEPS, LOCKS = "steps", "locks"


class Results:
    """Results in one directory of runs."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def find(self, address: str) -> Result | None:
        """Returns the result of an address whose value is still complete; None: the step must run."""
        try:
            result = msgspec.json.decode((self._directory / address).read_bytes(), type=Result)
            self._store.get(result.blob)
            os.utime(self._directory / address)  # `retention` deletes results that were not used for long
        except (OSError, msgspec.MsgspecError, WorldError):
            return None
        return result

    def keep(self, address: str, outcome: Outcome) -> Result:
        """Makes a result durable: first the blobs, then the address that names them."""
        if hashlib.sha256(outcome.value).hexdigest() != outcome.result.blob:
            raise WorldError(Code.DIGEST_MISMATCH, "the value of a step came damaged: run the pipeline again")
        for content in (outcome.value, *outcome.blobs.values()):
            self._store.put(content)
        self._directory.mkdir(parents=True, exist_ok=True)
        write_whole(self._directory / address, msgspec.json.encode(outcome.result))
        return outcome.result

    def forget(self, address: str) -> None:
        """Makes the step of an address run again."""
        (self._directory / address).unlink(missing_ok=True)

    def value_bytes(self, result: Result) -> bytes:
        """The bytes of a result's value."""
        return self._store.get(result.blob)

    def value(self, result: Result, source: Path) -> Any:
        """The value itself; `source` is the file of the step, whose classes it may need."""
        beside = str(source.parent)
        if beside not in sys.path:
            sys.path.append(beside)
        return pickle.loads(self._store.get(result.blob))  # noqa: S301 - this user's own, by its digest

    @contextmanager
    def alone(self, pipeline: str, run: str) -> Iterator[None]:
        """Locks a pipeline for one run. BadInput `pipeline_running` names the run that has the lock."""
        place = self._store.directory / LOCKS / pipeline
        place.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                words = f"run {file.read().strip()} of pipeline {pipeline} goes on: wait for it, or end it"
                raise BadInput(Code.PIPELINE_RUNNING, words) from None
            file.truncate(0)
            file.write(run)
            file.flush()
            yield

    @property
    def _directory(self) -> Path:
        return self._store.directory / STEPS
