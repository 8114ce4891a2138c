"""The device program: verifies, probes, hot-swaps or rolls back models, serves inference, reports.

Depends on onnxruntime, numpy, paho-mqtt and the libraries of trust. Depends on nothing of the controller.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.predictor import Predictor

__all__ = ["Predictor"]

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Set before numpy is imported: OpenBLAS starts a thread for each core, and each spins for 100 ms without work."""


if not TYPE_CHECKING:  # a type checker would accept every misspelt name, because this function takes any

    def __getattr__(name: str) -> object:
        """Loads `Predictor` when it is first used: the runtime takes 150 ms, which other parts of the package do not
        need.
        """
        if name == "Predictor":
            from agent.predictor import Predictor

            return Predictor
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
