"""The device program: verifies, probes, hot-swaps or rolls back models, serves inference, reports.

Depends on onnxruntime, numpy, paho-mqtt and what trust needs, on nothing of the controller.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.predictor import Predictor

__all__ = ["Predictor"]

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Set before numpy is imported: OpenBLAS starts a thread for each core, which spins for 100 ms without work."""


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that this function knows

    def __getattr__(name: str) -> object:
        """Loads `Predictor` when it is first asked for: the runtime takes 150 ms, too long for a mere part."""
        if name == "Predictor":
            from agent.predictor import Predictor

            return Predictor
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
