"""The agent: memory against a bare runtime, a swap under constant inference, the price of one row."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.adapters.onnx_runtime import OnnxSession
from agent.core.model import Assignment
from agent.ports import Sample
from agent.serving.rows import RowEncoder
from agent.serving.slot import ModelSlot
from benchmarks.swap import FEATURES, SWAPS, assignment_for
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
    """All rows."""
    return [_memory(), *_swap(), *_one_row()]


def _memory() -> Row:
    from edgeward.demo.models import train_first
    from edgeward.demo.processes import Site, wait_for

    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        site = Site(Path(scratch))
        try:
            client = site.start_controller()
            agent = site.start_agent(1)
            wait_for("the device", lambda: bool(client.device_list()), agent)
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
    """Both measured while both run: pages of libraries that they share are private to neither."""
    command = [sys.executable, "-c", _BARE, str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        assert bare.stdout is not None
        assert bare.stdout.readline() == b"ready\n"
        found = _private_mb(agent_pid), _private_mb(bare.pid)
        bare.communicate()
    return found


def _private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


def _forest(trees: int, seed: int) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    features = rng.normal(size=(6000, FEATURES)).astype(np.float32)
    labels = (features[:, :3].sum(axis=1) + rng.normal(size=6000) > 0).astype(int)
    model = RandomForestClassifier(trees, random_state=seed).fit(features, labels)
    types = [("X", FloatTensorType([None, FEATURES]))]
    onnx_model = convert_sklearn(
        model, name="model", initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3}, options={"zipmap": False}
    )
    raw: bytes = onnx_model.SerializeToString()
    return raw


def _swap() -> list[Row]:
    """In a process without scikit-learn, as on a device: the collector's work grows with everything imported."""
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        paths = [Path(scratch) / f"{number}.onnx" for number in range(2)]
        for number, path in enumerate(paths):
            path.write_bytes(_forest(300, number))
        size_mb = paths[0].stat().st_size / 1e6
        command = [sys.executable, "-m", "benchmarks.swap", *map(str, paths)]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(said)
    what = f"{SWAPS} swaps of a {size_mb:.0f} MB forest under {found['answers']} inferences"
    return [
        Row(f"{what}: failed", found["failures"], 0, "", "none may fail", goal=0),
        Row(f"{what}: longest stall", found["longest_ms"], found["quiet_ms"], "ms", "the same time without a swap"),
    ]


def _one_row() -> list[Row]:
    rows = []
    for name, trees in (("forest of 10 trees", 10), ("forest of 100 trees", 100)):
        model = _forest(trees, 3)
        assignment = assignment_for(model, 1)
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(model)
            file.flush()
            session = OnnxSession(file.name, assignment.manifest)
        rows.append(_overhead(name, session, assignment))
    return rows


def _overhead(name: str, session: Any, assignment: Assignment) -> Row:
    slot = ModelSlot("bench", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(slot.prepare(assignment, session))
    sample = Sample({f"x{number}": 0.1 * number for number in range(FEATURES)})
    arrays = RowEncoder(assignment.manifest).arrays(sample.values)
    ours, bare = [], []
    for _ in range(ROWS):  # interleaved: whatever disturbs the machine disturbs both
        began = time.perf_counter()
        slot.predict(sample)
        between = time.perf_counter()
        session.run(arrays)
        bare.append(time.perf_counter() - between)
        ours.append(between - began)
    p50 = [float(np.median(times)) * 1e6 for times in (ours, bare)]
    return Row(f"one row of {FEATURES} numbers, {name}: p50", p50[0], p50[1], "us", "session.run of the same row")
