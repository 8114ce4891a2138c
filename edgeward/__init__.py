"""The Python client and the `edgeward` command over it: ``from edgeward import Client``.

Decides which names a user imports from here. Loads each of them when it is first used: `import edgeward` takes no
time, and a part (`edgeward.settings`) does not load other parts.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract.errors import BadInput, EdgewardError, WorldError
    from edgeward.answers.table import Table
    from edgeward.client import Client
    from edgeward.held_out import HeldOut, split_by_time
    from edgeward.pipelines.pipeline import Pipeline
    from edgeward.pipelines.runner import run_pipeline
    from edgeward.pipelines.step import Metrics, step
    from edgeward.recurrent import RecurrentState
    from edgeward.rollout_handle import RolloutHandle
    from edgeward.runs.run import Run, current_run, run

    __version__: str

__all__ = [
    "BadInput", "Client", "EdgewardError", "HeldOut", "Metrics", "Pipeline", "RecurrentState", "RolloutHandle", "Run",
    "Table", "WorldError", "__version__", "current_run", "run", "run_pipeline", "split_by_time", "step",
]  # fmt: skip

_HOMES = {
    "BadInput": "contract.errors",
    "Client": "edgeward.client",
    "EdgewardError": "contract.errors",
    "HeldOut": "edgeward.held_out",
    "Metrics": "edgeward.pipelines.step",
    "Pipeline": "edgeward.pipelines.pipeline",
    "RecurrentState": "edgeward.recurrent",
    "RolloutHandle": "edgeward.rollout_handle",
    "Run": "edgeward.runs.run",
    "Table": "edgeward.answers.table",
    "current_run": "edgeward.runs.run",
    "run": "edgeward.runs.run",
    "run_pipeline": "edgeward.pipelines.runner",
    "split_by_time": "edgeward.held_out",
    "step": "edgeward.pipelines.step",
    "WorldError": "contract.errors",
}

if not TYPE_CHECKING:  # a type checker would accept every misspelt name, because this function takes any

    def __getattr__(name: str) -> object:
        """Returns the name from its module; `__version__` comes from the installed package's metadata."""
        if name == "__version__":
            from importlib.metadata import version

            return version("edgeward")
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
