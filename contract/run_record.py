"""The record of one run: parameters, metrics, data, code, environment, seeds, threads, artifacts, and its entry.

Decides what belongs to a run, and that its result is the digests of its artifacts and models. Refuses to know where
records are stored.
"""

import hashlib
from typing import Any, Literal

import msgspec

Status = Literal["running", "finished", "failed", "broken"]
"""`broken`: its process ended without a report, as by `kill -9` or a power cut."""
MAX_PARAMS = 1_000
"""Parameters of a run: a pipeline with a grid search has about 60."""
MAX_SERIES = 1_000
"""Metrics of a run, by name."""
MAX_POINTS = 1_000_000
"""Numbers of all metrics of a run: 60 MB in its file. Log every hundredth step of a longer training."""
MAX_ARTIFACTS = 1_000
MAX_DATA = 100
"""Sets of rows that one run may name."""


class Entry(msgspec.Struct, frozen=True):
    """What was started: the arguments of the interpreter, the directory, and the digest of the script's text."""

    arguments: tuple[str, ...]
    """Without the interpreter itself. Empty: it was started by hand, in a notebook or a shell."""
    directory: str
    script: str = ""
    """The path of the script among the arguments."""
    script_sha256: str = ""
    ordinal: int = 0
    """How many runs the process had made before this one."""


class CodeState(msgspec.Struct, frozen=True):
    """The commit that was checked out, and the digest of the difference to it."""

    revision: str
    root: str
    diff_sha256: str = ""
    """The digest of the difference of tracked files, which is kept. Empty: nothing differed."""


class Environment(msgspec.Struct, frozen=True):
    """Python, platform, and every installed distribution; `used` are those of which the run had imported a module."""

    python: str
    platform: str
    packages: dict[str, str] = {}
    used: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    """The origin of a distribution that is not from a registry: an address, or `directory:PATH`."""


class Threads(msgspec.Struct, frozen=True):
    """Threads and kernel of every library that computes with its own threads, by the library's name."""

    counts: dict[str, int] = {}
    kernels: dict[str, str] = {}
    """The processor whose routines each BLAS library uses."""


class DataUse(msgspec.Struct, frozen=True):
    """Rows that a run used: their digest, number, and columns with their types."""

    name: str
    sha256: str
    rows: int
    columns: dict[str, str] = {}
    kept_sha256: str = ""
    """The blob that holds the rows. Empty: they were too large to store, or this was not wanted."""
    data_set: str = ""
    """`NAME@VERSION` of the data set from which they came, if any."""


class Artifact(msgspec.Struct, frozen=True):
    """A file or a model that a run has made. For a model there may be only the digest."""

    name: str
    sha256: str
    size_bytes: int
    kind: Literal["file", "model"] = "file"


class PushedVersion(msgspec.Struct, frozen=True):
    """A version that was pushed from a run, with the controller's answer."""

    model: str
    release: int
    digest: str
    answer: dict[str, Any] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    name: str
    status: Status
    started_at: float
    """Seconds since 1970, as is `ended_at`."""
    ended_at: float = 0.0
    error: str = ""
    """The exception that ended a failed run, in one line."""
    kind: Literal["script", "pipeline"] = "script"
    entry: Entry = Entry((), "")
    code: CodeState | None = None
    environment: Environment = Environment("", "")
    threads: Threads = Threads()
    seeds: dict[str, str] = {}
    params: dict[str, str] = {}
    data: tuple[DataUse, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    pushed: tuple[PushedVersion, ...] = ()
    metrics: dict[str, float] = {}
    """The last number of every metric."""
    tags: dict[str, str] = {}

    @property
    def result(self) -> str:
        """The digest of all artifacts and models by name; empty for a run that made none."""
        return digest_of({each.name: each.sha256 for each in self.artifacts}) if self.artifacts else ""

    def find_data(self, name: str) -> DataUse | None:
        """The rows of this name, None if there are none."""
        return next((each for each in self.data if each.name == name), None)


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One number of a metric: its name, step, value, and the time in seconds since 1970."""

    metric: str
    step: int
    value: float
    at: float


def digest_of(value: Any) -> str:
    """SHA-256 of a plain value by its JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
