"""Tree ensembles: the compact operator beside skl2onnx's own, each in a fresh process on one core."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.models import FEATURES, as_onnx, fitted
from benchmarks.table import Row

KINDS = ("forest-100", "forest-300", "forest-800", "boosted")
_PROGRAM = """
import ctypes, json, sys, time
import numpy as np
from agent.adapters.runtime.onnx_runtime import session_options
import onnxruntime as ort
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
row = np.full((1, int(sys.argv[2])), 0.1, dtype=np.float32)
before, began = resident_mb(), time.perf_counter()
session = ort.InferenceSession(sys.argv[1], session_options(), providers=["CPUExecutionProvider"])
load_ms = (time.perf_counter() - began) * 1000
ctypes.CDLL(None).malloc_trim(0)
memory_mb = resident_mb() - before
rows_us = []
for _ in range(3000):
    began = time.perf_counter()
    session.run(None, {"X": row})
    rows_us.append((time.perf_counter() - began) * 1e6)
began = time.perf_counter()
del session
free_ms = (time.perf_counter() - began) * 1000
print(json.dumps({"load": load_ms, "memory": memory_mb, "row p50": float(np.median(rows_us)), "free": free_ms}))
"""
_UNITS = {"load": "ms", "memory": "MB", "row p50": "us", "free": "ms"}


def measure() -> list[Row]:
    """Returns rows for file size, load, memory, one row, and the time for which freeing a session holds the
    interpreter.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        for kind in KINDS:
            estimator, paths = fitted(kind), []
            for name, compact in (("compact", True), ("old", False)):
                paths.append(Path(scratch) / f"{kind}-{name}.onnx")
                paths[-1].write_bytes(as_onnx(estimator, compact=compact))
            sizes = [path.stat().st_size / 1e6 for path in paths]
            rows.append(Row(f"{kind}: file", sizes[0], sizes[1], "MB", "ai.onnx.ml 3"))
            ours, theirs = (_figures(path) for path in paths)
            rows += [Row(f"{kind}: {what}", ours[what], theirs[what], _UNITS[what], "ai.onnx.ml 3") for what in ours]
    return rows


def _figures(path: Path) -> dict[str, float]:
    command = ["taskset", "-c", "0", sys.executable, "-c", _PROGRAM, str(path), str(FEATURES)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found
