"""Packs one step for a process here or on another machine: its function's file, its inputs, its parameters.

Decides what is sent along. Refuses to know where it is sent.
"""

import os
import pickle
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeward.pipelines.job import Job, Package, Result
from edgeward.pipelines.results import Results
from edgeward.pipelines.step import Step
from edgeward.runs.restore import SOURCES
from edgeward.runs.run import Run

CARRIED = ("EDGEWARD_URL", "EDGEWARD_TOKEN", "EDGEWARD_REPRODUCE", "PYTHONHASHSEED")
"""Variables that a step on another machine gets as well: it may push to the controller."""


def pack(step: Step, run: Run, results: Results, known: Mapping[str, Result], params: Mapping[str, Any]) -> Package:
    """Packs a step with the values of the steps whose outputs it takes."""
    needs = {name: results.value_bytes(known[name]) for name in step.takes if name in known}
    source = step.source
    job = Job(
        source=str(source),
        module=step.function.__module__ if _is_installed(source) else "",
        step=step.function.__name__,
        run=run.id,
        run_name=run.record.name,
        timeout_s=step.timeout_s,
        memory_mb=step.memory_mb,
        inputs=tuple(needs),
    )
    carried = {name: os.environ[name] for name in CARRIED if name in os.environ}
    return Package(job, source.read_bytes(), needs, pickle.dumps(dict(params), protocol=5), carried)


def _is_installed(source: Path) -> bool:
    """Whether another process can import the file by its module's name."""
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return any(source.is_relative_to(each) for each in {*places, SOURCES / "edgeward"})
