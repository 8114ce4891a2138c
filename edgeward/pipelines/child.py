"""The process of one step: `python -m edgeward.pipelines.child DIRECTORY`.

Decides that a value must have the declared type, and that an exception is given in one line beside its trace. Ends with
the process that started it. Refuses to know limits: the parent kills it.
"""

import ctypes
import hashlib
import importlib
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from contract.run_record import Record
from edgeward.pipelines.job import INPUTS, JOB, PARAMS, RESULT, VALUE, Job, Result
from edgeward.pipelines.pipeline import load_module
from edgeward.pipelines.step import Metrics, Step
from edgeward.runs import found_out
from edgeward.runs.digest import value_digest
from edgeward.runs.run import Run, joined
from edgeward.runs.store import RunStore

_PR_SET_PDEATHSIG = 1
MAX_ERROR_CHARS = 500


def main(directory: Path) -> None:
    """Performs the job in `directory` and leaves its result there."""
    _end_with_parent()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what a step has printed stands before its fault
    job = msgspec.json.decode((directory / JOB).read_bytes(), type=Job)
    started = time.monotonic()
    try:
        result = _perform(job, directory)
    except BaseException as error:
        traceback.print_exc()
        result = Result(error=f"raised {type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = msgspec.structs.replace(result, took_s=round(time.monotonic() - started, 3), peak_mb=round(peak_mb, 1))
    beside = directory / f".{RESULT}"
    beside.write_bytes(msgspec.json.encode(result))
    beside.rename(directory / RESULT)


def _perform(job: Job, directory: Path) -> Result:
    step = _find(job)
    inputs = {name: pickle.loads((directory / INPUTS / name).read_bytes()) for name in job.inputs}  # noqa: S301 - our own
    params = pickle.loads((directory / PARAMS).read_bytes())  # noqa: S301 - written by the process that started this one
    store = RunStore(directory / "run", named=True)
    record = Record(id=job.run, name=job.run_name, status="running", started_at=time.time())
    held = store.hold(job.run)
    run = Run(record, store, held, None)
    with joined(run):
        value = step.function(**inputs, **params)
        _check_type(step, value)
        if hasattr(value, "columns") and hasattr(value, "to_numpy"):
            value = run.log_data(value, step.name)
    if step.gives is Metrics:
        run.log_metrics(value)
    raw = pickle.dumps(value, protocol=5)
    (directory / VALUE).write_bytes(raw)
    return Result(
        digest=value_digest(value),
        kind=type(value).__name__,
        blob=hashlib.sha256(raw).hexdigest(),
        compared=value is not None and step.gives is not Metrics and not type(value).__module__.startswith("edgeward."),
        points=tuple(store.points(job.run)),
        data=run.record.data,
        artifacts=run.record.artifacts,
        pushed=run.record.pushed,
        used=tuple(sorted(found_out.used_distributions())),
        threads=found_out.threads(),
    )


def _find(job: Job) -> Step:
    module = importlib.import_module(job.module) if job.module else load_module(Path(job.source))
    found = next(
        (e for e in vars(module).values() if isinstance(e, Step) and e.function.__name__ == job.step), None
    )  # fmt: skip
    if found is None:
        raise LookupError(f"{job.source} has no step {job.step}")
    return found


def _check_type(step: Step, value: Any) -> None:
    wanted = dict if step.gives is Metrics else step.gives
    origin = getattr(wanted, "__origin__", wanted)
    if wanted in (None, type(None)):
        origin = type(None)
    if isinstance(origin, type) and not isinstance(value, origin):
        raise TypeError(f"it returned {type(value).__name__} and declares {getattr(wanted, '__name__', wanted)}")


def _end_with_parent() -> None:
    """Ends this process when the one that started it ends, for any reason."""
    parent = os.environ.get("EDGEWARD_STEP_PARENT", "")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and str(os.getppid()) != parent:
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
