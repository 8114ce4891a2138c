"""The agent: its memory compared with a bare runtime, and the time that it adds to one row of a sensor."""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.core.model import Assignment
from agent.ports import Sample
from agent.serving.rows import RowEncoder
from agent.serving.slot import ModelSlot
from benchmarks.models import FEATURES, as_onnx, fitted
from benchmarks.swap import assignment_for, private_mb
from benchmarks.table import Row

ROWS = 4000

_BARE = """
import sys
import numpy, onnxruntime, paho.mqtt.client
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"X": numpy.zeros((1, 8), dtype=numpy.float32)})
print("ready", flush=True)
sys.stdin.read()
"""


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    return [_memory(), *_one_row()]


def _memory() -> Row:
    from edgeward.demo.models import train_first
    from edgeward.demo.processes import Site, wait_for

    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        site = Site(Path(scratch))
        try:
            client = site.start_controller()
            agent = site.start_agent(1)
            wait_for("the device", lambda: bool(client.devices()), agent)
            model, sample = train_first()
            client.push(model, name="weather", sample=sample)
            strategy = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}
            client.rollout("weather", strategy=strategy).wait(timeout_s=60)
            time.sleep(2)
            state = Path(scratch) / "device-1" / "state"
            smallest = min(state.glob("blob-*"), key=lambda path: path.stat().st_size)
            assert agent.child is not None
            ours, bare = _side_by_side(agent.child.pid, smallest)
        finally:
            site.stop()
    return Row("agent private memory", ours, bare, "MB", "python with onnxruntime, paho and the same model", goal=1.35)


def _side_by_side(agent_pid: int, model: Path) -> tuple[float, float]:
    """Returns the private memory in MB of the agent and of a bare runtime, measured while both run.

    Pages of libraries that both use then count as private for neither.
    """
    command = [sys.executable, "-c", _BARE, str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        assert bare.stdout is not None
        assert bare.stdout.readline() == b"ready\n"
        found = private_mb(agent_pid), private_mb(bare.pid)
        bare.communicate()
    return found


def _one_row() -> list[Row]:
    rows = []
    for name, kind in (("forest of 10 trees", "forest-10"), ("forest of 100 trees", "forest-100")):
        model = as_onnx(fitted(kind, 3))
        assignment = assignment_for(model, 1)
        rows.append(_overhead(name, OnnxSession(model, assignment.manifest), assignment))
    return rows


def _overhead(name: str, session: Any, assignment: Assignment) -> Row:
    slot = ModelSlot("bench", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(slot.prepare(assignment, session))
    sample = Sample({f"x{number}": 0.1 * number for number in range(FEATURES)})
    arrays = RowEncoder(assignment.manifest).arrays(sample.values)
    ours, bare = [], []
    for _ in range(ROWS):  # interleaved, so that a disturbance of the machine affects both
        began = time.perf_counter()
        slot.predict(sample)
        between = time.perf_counter()
        session.run(arrays)
        bare.append(time.perf_counter() - between)
        ours.append(between - began)
    p50 = [float(np.median(times)) * 1e6 for times in (ours, bare)]
    return Row(f"one row of {FEATURES} numbers, {name}: p50", p50[0], p50[1], "us", "session.run of the same row")
