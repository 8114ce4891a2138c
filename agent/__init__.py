"""The device program: verifies, probes, hot-swaps or rolls back models, serves inference, reports.

Light on purpose: onnxruntime, numpy, paho-mqtt and what trust needs. Never imports the controller.
"""

import os
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Said before numpy is imported: OpenBLAS starts a thread for each core, which spins for 100 ms and has no work."""


def __getattr__(name: str) -> Any:
    """`from agent import Predictor`, at no price for whoever imports a part: the runtime takes 150 ms."""
    if name == "Predictor":
        from agent.predictor import Predictor

        return Predictor
    raise AttributeError(name)
