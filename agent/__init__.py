"""The device program: verifies, probes, hot-swaps or rolls back models, serves inference, reports.

Depends on onnxruntime, numpy, paho-mqtt and what trust needs, on nothing of the controller.
"""

import os
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Set before numpy is imported: OpenBLAS starts a thread for each core, which spins for 100 ms without work."""


def __getattr__(name: str) -> Any:
    """Imports `Predictor` at its first use: the runtime takes 150 ms, which other imports need not pay."""
    if name == "Predictor":
        from agent.predictor import Predictor

        return Predictor
    raise AttributeError(name)
