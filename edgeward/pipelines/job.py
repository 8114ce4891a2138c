"""The files of a step's process in one directory: its inputs and its results.

Decides the names of these files. Refuses to know how the process is started (`process`) and what it does (`child`).
"""

from pathlib import Path

import msgspec

from contract.run_record import Artifact, DataUse, Point, PushedVersion, Threads

JOB, VALUE, RESULT, LOG = "job.json", "value.pickle", "result.json", "log"
INPUTS, PARAMS = "inputs", "params.pickle"


class Job(msgspec.Struct, frozen=True):
    """A step to perform: where its function is, the run that it belongs to, and its limits."""

    source: str
    """The file that defines it."""
    module: str
    """The module to import instead; empty for a file that no import finds."""
    step: str
    run: str
    run_name: str
    timeout_s: float
    memory_mb: float
    inputs: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a step."""

    digest: str = ""
    """Digest of the value that it returned, by `edgeward.runs.digest`."""
    kind: str = ""
    """The type of the value."""
    blob: str = ""
    """SHA-256 of the value's bytes."""
    error: str = ""
    """Why it failed: `raised ValueError: ...`."""
    took_s: float = 0.0
    peak_mb: float = 0.0
    compared: bool = True
    """Whether the value counts for the result of the run: measured times and answers of a controller do not."""
    points: tuple[Point, ...] = ()
    data: tuple[DataUse, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    pushed: tuple[PushedVersion, ...] = ()
    used: tuple[str, ...] = ()
    """Distributions of which the step has imported a module: its run cannot see them, and needs them to run again."""
    threads: Threads = Threads()


class Package(msgspec.Struct, frozen=True):
    """A job with all that it needs, in bytes: for a process here, or on another machine."""

    job: Job
    source: bytes
    inputs: dict[str, bytes]
    params: bytes
    environment: dict[str, str] = {}
    """Variables for another machine: where the controller is."""


class Outcome(msgspec.Struct, frozen=True):
    """The result of a package: the result of the job, the value's bytes, the log, and blobs of the run by digest."""

    result: Result
    value: bytes = b""
    log: bytes = b""
    blobs: dict[str, bytes] = {}


def write_job(package: Package, directory: Path) -> None:
    """Writes a package for the process that performs it."""
    (directory / INPUTS).mkdir(parents=True)
    for name, content in package.inputs.items():
        (directory / INPUTS / name).write_bytes(content)
    (directory / PARAMS).write_bytes(package.params)
    job = package.job
    if not job.module and not Path(job.source).is_file():  # on another machine
        place = directory / Path(job.source).name
        place.write_bytes(package.source)
        job = msgspec.structs.replace(job, source=str(place))
    (directory / JOB).write_bytes(msgspec.json.encode(job))


def read_result(directory: Path) -> Result | None:
    """The result that a process has written; None if there is none."""
    path = directory / RESULT
    return msgspec.json.decode(path.read_bytes(), type=Result) if path.is_file() else None
