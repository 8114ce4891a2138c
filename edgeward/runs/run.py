"""`with edgeward.run("name") as run:`, one open run.

Decides when the record is written: at the start, with each artifact and at the end; numbers at once. Refuses to know
how runs are listed, compared or repeated.
"""

import os
import pickle
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar

import msgspec
import numpy as np

from contract.errors import BadInput, Code
from contract.run_record import (
    MAX_ARTIFACTS,
    MAX_DATA,
    MAX_PARAMS,
    MAX_POINTS,
    MAX_SERIES,
    Artifact,
    DataUse,
    Entry,
    Point,
    PushedVersion,
    Record,
    Threads,
)
from edgeward import arguments
from edgeward.runs import found_out
from edgeward.runs.digest import value_digest
from edgeward.runs.repeated import Repeated, repeated_here
from edgeward.runs.store import RunStore
from edgeward.runs.tracking import Tracking, open_tracking

R = TypeVar("R")
MAX_KEPT_BYTES = 64 << 20
"""Bytes of rows that a run stores, so that a reproduction can use them; of larger ones it stores only the digest."""
MAX_VALUE_CHARS = 1_000
"""Characters of a parameter's text."""
DATA_SET_ATTRIBUTE = "edgeward_data_set"
"""The key in `DataFrame.attrs` with the data set of the rows. Most operations of pandas keep it."""
_open: list["Run"] = []
_made = 0


def current_run() -> "Run | None":
    """The innermost run that is open in this process."""
    return _open[-1] if _open else None


class Run:
    """One open run. Made by `edgeward.run`."""

    def __init__(self, record: Record, store: RunStore, held: IO[bytes], tracking: Tracking | None) -> None:
        self._record, self._store, self._held = record, store, held
        self._tracking = tracking
        self._points = 0
        self._steps: dict[str, int] = {}
        self._used: frozenset[str] = frozenset()
        self._threads = Threads()
        self._repeated: Repeated | None = repeated_here(record.entry.ordinal)
        self._at_end: dict[str, Callable[[], None]] = {}

    @property
    def id(self) -> str:
        """The id of the run, which is stored with a version that is pushed from it."""
        return self._record.id

    @property
    def store(self) -> RunStore:
        """Where the run is kept."""
        return self._store

    @property
    def record(self) -> Record:
        """The record of the run so far."""
        return self._record

    @property
    def repeats(self) -> Record | None:
        """The run that this one reproduces; None for any other."""
        return self._repeated.record if self._repeated is not None else None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keeps parameters by name; a later value replaces an earlier one."""
        arguments.by_name("params", params, None, '{"depth": 3}')
        known = self._record.params | {str(name): str(value)[:MAX_VALUE_CHARS] for name, value in params.items()}
        _check_limit("parameters", len(known), MAX_PARAMS)
        self._change(params=known)
        if self._tracking is not None:
            self._tracking.params({str(name): str(value) for name, value in params.items()})

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Appends a number to a metric; `step` None: one more than its last step."""
        arguments.text("name", name)
        arguments.number("value", value)
        self.log_metrics({name: value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends a number to each metric. They can be read at once, also by `edgeward run plot` in another window."""
        arguments.by_name("metrics", metrics, arguments.number, '{"loss": 0.1}')
        if step is not None:
            arguments.whole_number("step", step)
        now = time.time()
        points = [Point(name, self._step(name, step), float(value), now) for name, value in metrics.items()]
        self._points += len(points)
        _check_limit("numbers of metrics", self._points, MAX_POINTS)
        _check_limit("metrics", len(self._steps), MAX_SERIES)
        self._store.append(self.id, points)
        self._record = msgspec.structs.replace(
            self._record, metrics=self._record.metrics | {each.metric: each.value for each in points}
        )
        if self._tracking is not None:
            self._tracking.metrics(points)

    def log_data(self, rows: R, name: str = "data", *, keep: bool = True) -> R:
        """Stores digest, schema and, up to 64 MB, the rows themselves; returns the rows to use from here on.

        Use what it returns: a reproduction returns the recorded rows, to find out whether the data are the cause of a
        difference.
        """
        arguments.text("name", name)
        if self._repeated is not None and (handed := self._repeated.rows(name)) is not None:
            rows = handed
        digest, count, columns = found_out.described_rows(rows)
        raw = pickle.dumps(rows, protocol=5) if keep else b""
        kept = self._store.put(raw) if raw and len(raw) <= MAX_KEPT_BYTES else ""
        data_set = str(getattr(rows, "attrs", {}).get(DATA_SET_ATTRIBUTE, ""))
        used = DataUse(name, digest, count, columns, kept, data_set)
        others = tuple(each for each in self._record.data if each.name != name)
        _check_limit("sets of rows", len(others) + 1, MAX_DATA)
        self._change(data=(*others, used))
        return rows

    def seed(self, number: int) -> int:
        """Seeds `random` and NumPy's global generator, keeps the number, and returns it for other generators."""
        arguments.whole_number("number", number)
        if self._repeated is not None:
            number = self._repeated.seed(number)
        random.seed(number)
        np.random.seed(number % 2**32)
        self._change(seeds=self._record.seeds | {"seed": str(number)})
        return number

    def artifact(self, content: bytes | str | Path, name: str = "") -> Artifact:
        """Stores a file under its digest: a path, or bytes with a name. It counts for the result of the run."""
        if isinstance(content, bytes):
            if not name:
                raise BadInput(Code.REQUEST_INVALID, "an artifact of bytes needs a name: artifact(content, name=...)")
            raw = content
        else:
            if not isinstance(content, str | Path):
                arguments.refuse("content", content, "bytes, or the path of a file")
            path = Path(content)
            if not path.is_file():
                raise BadInput(Code.REQUEST_INVALID, f"{path} is no file: pass a path that exists, or bytes")
            raw, name = path.read_bytes(), name or path.name
        return self._add(Artifact(name, self._store.put(raw), len(raw)), raw)

    def log_model(self, model: Any, name: str = "model") -> Artifact:
        """Stores the digest of a fitted model's content. It counts for the result of the run."""
        arguments.text("name", name)
        digest = self._store.put(model) if isinstance(model, bytes) else value_digest(model)
        return self._add(Artifact(name, digest, len(model) if isinstance(model, bytes) else 0, "model"))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags, by which runs are found again."""
        arguments.by_name("tags", tags, arguments.text, '{"experiment": "42"}')
        self._change(tags=self._record.tags | dict(tags))

    def note_pushed(self, version: PushedVersion) -> None:
        """Keeps which version was pushed from this run."""
        self._change(pushed=(*self._record.pushed, version))

    def at_end(self, what: str, deed: Callable[[], None]) -> None:
        """Calls `deed` once the run has ended; a later one for the same `what` replaces it."""
        self._at_end[what] = deed

    def recorded_push(self, model: str) -> PushedVersion | None:
        """During a reproduction: returns the version of this model that the run pushed. Nothing is pushed a second
        time.
        """
        if self._repeated is None:
            return None
        found = next((each for each in self._repeated.record.pushed if each.model == model), None)
        return found or PushedVersion(model, 0, "")

    def take(
        self,
        points: Sequence[Point],
        data: Sequence[DataUse],
        artifacts: Sequence[Artifact],
        pushed: Sequence[PushedVersion],
    ) -> None:
        """Adds the results of a step of a pipeline. Its numbers keep their steps and times."""
        if points:
            self._store.append(self.id, list(points))
            if self._tracking is not None:
                self._tracking.metrics(list(points))
        self._change(
            metrics=self._record.metrics | {each.metric: each.value for each in points},
            data=(*self._record.data, *data),
            artifacts=(*self._record.artifacts, *artifacts),
            pushed=(*self._record.pushed, *pushed),
        )

    def take_environment(self, used: Sequence[str], threads: Threads) -> None:
        """Adds the distributions, threads and kernels of a step, which ran in its own process."""
        self._used |= frozenset(used)
        self._threads = _joined(self._threads, threads)

    def add_artifact(self, artifact: Artifact) -> Artifact:
        """Stores an artifact whose digest is known."""
        return self._add(artifact)

    def _add(self, artifact: Artifact, raw: bytes | None = None) -> Artifact:
        others = tuple(each for each in self._record.artifacts if each.name != artifact.name)
        _check_limit("artifacts", len(others) + 1, MAX_ARTIFACTS)
        self._change(artifacts=(*others, artifact))
        if self._tracking is not None and raw is not None:
            self._tracking.artifact(artifact.name, raw)
        return artifact

    def _step(self, name: str, step: int | None) -> int:
        self._steps[name] = self._steps.get(name, -1) + 1 if step is None else step
        return self._steps[name]

    def _change(self, **fields: Any) -> None:
        self._record = msgspec.structs.replace(self._record, **fields)
        self._store.save(self._record)

    def __enter__(self) -> Self:
        _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.remove(self)
        status: Literal["finished", "failed"] = "finished" if error is None else "failed"
        words = f"{type(error).__name__}: {error}"[:MAX_VALUE_CHARS] if error is not None else ""
        self._change(
            status=status,
            error=words,
            ended_at=time.time(),
            environment=found_out.environment(self._used),
            threads=_joined(found_out.threads(), self._threads),
        )
        self._held.close()
        if self._tracking is not None:
            self._tracking.end(status)
        for deed in self._at_end.values():
            deed()


def run(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    directory: Path | None = None,
    kind: Literal["script", "pipeline"] = "script",
    tracking_uri: str | None = None,
    entry: Entry | None = None,
) -> Run:
    """Begins a run, for a `with` statement. It ends as finished, as failed with the exception, or is later found
    broken.

    `directory` is where runs are stored (default: EDGEWARD_RUNS_DIR, then `.edgeward/runs`); `tracking_uri` an MLflow
    server that gets the run as well (default: MLFLOW_TRACKING_URI, if that is an address of HTTP); `entry` how it is
    run again (default: as this process was started).
    """
    global _made  # noqa: PLW0603 - how many runs this process has made is a fact of the process
    store = RunStore(directory)
    started = time.time()
    identifier = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started))}-{secrets.token_hex(3)}"
    held = store.hold(identifier)
    entry = entry or found_out.entry(_made)
    _made += 1
    code = found_out.code_state(Path(entry.script).parent if entry.script else Path.cwd())
    if code is not None and code[1]:
        store.put(code[1])
    if entry.script_sha256:
        store.put(Path(entry.script).read_bytes())
    record = Record(
        id=identifier, name=name, status="running", started_at=started, kind=kind, entry=entry,
        code=code[0] if code is not None else None,
        seeds={"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "random")} if sys.flags.hash_randomization else {},
        tags=dict(tags or {}),
    )  # fmt: skip
    store.save(record)
    made = Run(record, store, held, open_tracking(tracking_uri, name, identifier))
    if params:
        made.log_params(params)
    return made


def _joined(these: Threads, others: Threads) -> Threads:
    return Threads(these.counts | others.counts, these.kernels | others.kernels)


@contextmanager
def joined(opened: Run) -> Iterator[Run]:
    """Makes a run the current one without ending it."""
    _open.append(opened)
    try:
        yield opened
    finally:
        _open.remove(opened)


def _check_limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise BadInput(Code.REQUEST_INVALID, f"{count} {what} in one run, limit {limit}")
