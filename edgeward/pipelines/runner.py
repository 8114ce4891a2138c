"""Runs a pipeline: each step as soon as its inputs exist, unless its address has a result already.

Decides which step runs, what is stored of it, and that the first fault ends the run with the step's name. A step
that has pushed is known only if the controller has the pushed version. Refuses to know where steps are performed:
that is handed in.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BadInput, Code
from contract.run_record import Artifact, Entry
from edgeward.files import write_whole
from edgeward.pipelines.address import step_address
from edgeward.pipelines.job import Outcome, Result
from edgeward.pipelines.packing import pack
from edgeward.pipelines.pipeline import Pipeline, file_and_name, load_pipeline
from edgeward.pipelines.pushed import are_there
from edgeward.pipelines.results import Results
from edgeward.pipelines.retention import NOTHING, Dropped, prune
from edgeward.pipelines.workers import Workers, open_workers
from edgeward.runs import found_out
from edgeward.runs.run import Run
from edgeward.runs.run import run as begin_run
from edgeward.runs.store import RunStore

STEPS_FILE, LOGS = "steps.json", "logs"


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """One step in one run of a pipeline."""

    step: str
    status: str
    """waiting, running, done, known (its address had a result, and the controller has its pushed version), failed."""
    address: str = ""
    digest: str = ""
    kind: str = ""
    took_s: float = 0.0
    peak_mb: float = 0.0
    error: str = ""


class Outputs(Mapping[str, Any]):
    """The values of steps by name; each is read when it is needed."""

    def __init__(self, results: Results, known: dict[str, Result], pipeline: Pipeline) -> None:
        self._results, self._known, self._pipeline = results, known, pipeline

    def __getitem__(self, step: str) -> Any:
        return self._results.value(self._known[step], self._pipeline.steps[step].source)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True)
class PipelineResult:
    """The result of one run of a pipeline."""

    run_id: str
    outputs: Outputs
    """Values by step; each is read when it is needed."""
    pushed_version: int | None
    """The release that a step has pushed, now or in an earlier run; None if none did."""
    pushed_now: bool
    """Whether a step of this run pushed it. False: an earlier run did, and the controller has it."""
    metrics: dict[str, float]
    steps: tuple[StepState, ...]
    dropped: Dropped = NOTHING
    """Results of steps that were deleted after it, because they were not used for long or are too large together."""


@dataclass
class _Progress:
    """A run in progress."""

    pipeline: Pipeline
    run: Run
    store: RunStore
    results: Results
    tell: Callable[[StepState], None]
    states: dict[str, StepState] = field(default_factory=dict)
    known: dict[str, Result] = field(default_factory=dict)
    pushing: set[str] = field(default_factory=set)
    """Steps that have pushed in this run, and those that come after one."""

    def follows_push(self, name: str) -> bool:
        """Whether a step depends on a push of this run: then no result of an earlier push may replace it."""
        return not self.pushing.isdisjoint(self.pipeline.needs(name))

    def note(self, state: StepState) -> None:
        """Stores the state of a step, for readers in other processes, and reports it."""
        self.states[state.step] = state
        ordered = [self.states[name] for name in self.pipeline.order if name in self.states]
        write_whole(self.store.directory_of(self.run.id) / STEPS_FILE, msgspec.json.encode(ordered))
        self.tell(state)


def run_pipeline(
    pipeline: Pipeline | str | Path,
    params: Mapping[str, Any] | None = None,
    runs_dir: Path | None = None,
    *,
    on: str = "",
    tell: Callable[[StepState], None] = lambda state: None,
) -> PipelineResult:
    """Runs a pipeline, or that of a file, and returns its result. Steps whose address has a result do not run.

    `params` by name, texts or values; `runs_dir` as for `edgeward.run`; `on` the address of a Dask scheduler,
    `dask://host:port` (default: processes here); `tell` is called whenever a step changes.

    BadInput `pipeline_invalid` before anything runs; `pipeline_running`; `pipeline_failed` names the step, why, and its
    log. Finished steps are stored, and another run continues from there.
    """
    chosen = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
    bound = chosen.bind(params or {})
    store = RunStore(runs_dir)
    entry = None if isinstance(pipeline, Pipeline) else entry_of(pipeline, params or {})
    run = begin_run(chosen.name, params=params, directory=runs_dir, kind="pipeline", entry=entry)
    with run, Results(store).alone(chosen.name, run.id), open_workers(on) as workers:
        progress = _Progress(chosen, run, store, Results(store), tell)
        _run_steps(progress, bound, workers)
    pushed = run.record.pushed
    return PipelineResult(
        run.id,
        Outputs(progress.results, progress.known, chosen),
        pushed[-1].release if pushed else None,
        any(progress.known[name].pushed for name in progress.pushing),
        dict(run.record.metrics),
        tuple(progress.states[name] for name in chosen.order),
        prune(store),
    )


def entry_of(place: str | Path, params: Mapping[str, Any]) -> Entry:
    """Returns how a pipeline of a file is run again, for a schedule or a worker that retrains."""
    path, _ = file_and_name(place)
    given = [text for name, value in params.items() for text in ("-p", f"{name}={value}")]
    return found_out.entry_of(("-m", "edgeward", "pipeline", "run", str(place), *given), path.absolute())


def _run_steps(progress: _Progress, bound: Mapping[str, Mapping[str, Any]], workers: Workers) -> None:
    pipeline, under_way = progress.pipeline, dict[Future[Outcome], tuple[str, str]]()
    waiting = list(pipeline.order)
    for name in waiting:
        progress.note(StepState(step=name, status="waiting"))
    while waiting or under_way:
        for name in [each for each in waiting if all(need in progress.known for need in pipeline.needs(each))]:
            waiting.remove(name)
            address = _address(progress, name, bound[name])
            result = _known_result(progress, name, address)
            if result is not None:
                _take(progress, name, address, result, "known")
                continue
            package = pack(pipeline.steps[name], progress.run, progress.results, progress.known, bound[name])
            under_way[workers.submit(address, package)] = (name, address)
            progress.note(StepState(step=name, status="running", address=address))
        if not under_way:
            continue
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            name, address = under_way.pop(future)
            _finish(progress, name, address, future.result())


def _known_result(progress: _Progress, name: str, address: str) -> Result | None:
    """Returns the result of an earlier run for this step; None: it must run."""
    if progress.follows_push(name):
        progress.results.forget(address)  # if this run fails now, the next must not take the old result for this push
        return None
    result = None if progress.pipeline.steps[name].always else progress.results.find(address)
    return result if result is not None and are_there(result.pushed) else None


def _address(progress: _Progress, name: str, params: Mapping[str, Any]) -> str:
    inputs = {need: progress.known[need].digest for need in progress.pipeline.needs(name)}
    try:
        return step_address(progress.pipeline.steps[name], inputs, params)
    except BadInput as error:
        progress.note(StepState(step=name, status="failed", error=error.detail))
        raise


def _finish(progress: _Progress, name: str, address: str, outcome: Outcome) -> None:
    """Keeps the log and the result of a step that has ended. BadInput `pipeline_failed`."""
    log = progress.store.directory_of(progress.run.id) / LOGS / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(outcome.log)
    result = outcome.result
    if result.error:
        failed = StepState(
            step=name, status="failed", address=address, error=result.error, took_s=result.took_s,
            peak_mb=result.peak_mb,
        )  # fmt: skip
        progress.note(failed)
        words = f"step {name} {result.error}; log: edgeward pipeline logs {progress.run.id} {name}"
        raise BadInput(Code.PIPELINE_FAILED, words)
    progress.results.keep(address, outcome)
    if result.pushed or progress.follows_push(name):
        progress.pushing.add(name)
    _take(progress, name, address, result, "done")


def _take(progress: _Progress, name: str, address: str, result: Result, status: str) -> None:
    """Adds a result to the run: numbers, data, artifacts, pushed versions."""
    progress.known[name] = result
    progress.run.take(result.points, result.data, result.artifacts, result.pushed)
    progress.run.take_environment(result.used, result.threads)
    if result.compared:
        progress.run.add_artifact(Artifact(f"step {name}", result.digest, 0, "model"))
    progress.note(
        StepState(
            step=name,
            status=status,
            address=address,
            digest=result.digest,
            kind=result.kind,
            took_s=result.took_s,
            peak_mb=result.peak_mb,
        )
    )


def load_steps(store: RunStore, run: str) -> tuple[str, list[StepState]]:
    """(whole id, steps) of a run of a pipeline. BadInput `request_invalid` for any other."""
    name = store.find(run)
    path = store.directory_of(name) / STEPS_FILE
    if not path.is_file():
        raise BadInput(Code.REQUEST_INVALID, f"run {name} is no run of a pipeline: see `edgeward pipeline list`")
    return name, msgspec.json.decode(path.read_bytes(), type=list[StepState])
