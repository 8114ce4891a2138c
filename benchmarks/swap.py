"""Swaps between two models under constant inference, in a process with the agent's own libraries only.

Run as ``python -m benchmarks.swap A.onnx B.onnx [--isolated]``; prints one JSON object. A machine with shared cores has
stalls of its own once both cores are busy. The same loop is therefore measured for as long beside a thread that only
hashes.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.core.model import Assignment
from agent.ports import Sample, Session
from agent.serving.slot import ModelSlot
from benchmarks.models import FEATURES
from contract.blobs import describe
from contract.desired import TrialPolicy
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor

SWAPS = 100


def assignment_for(model: bytes, release: int, name: str = "bench") -> Assignment:
    nothing = Decimal(0)
    golden = Golden(blob=describe(b"-", 65536), rows=1, rtol=nothing, atol=nothing, max_row_mismatch_ratio=nothing)
    manifest = Manifest(
        release=release,
        artifact=describe(model, 65536),
        golden=golden,
        task="classification",
        inputs=(Tensor(name="X", datatype="FP32", shape=(-1, FEATURES)),),
        outputs=(
            Tensor(name="label", datatype="INT64", shape=(-1,)),
            Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
        ),
        columns=tuple(f"x{number}" for number in range(FEATURES)),
        hardware=("x86_64",),
        runtime=Runtime(ir=8, opset=18, ml_opset=3),
        limits=ModelLimits(memory_mb=1024, load_s=60),
    )
    return Assignment(model=name, generation=release, manifest=manifest, policy=TrialPolicy())


class Inferring:
    """Constant inference in a thread.

    Counts answers and failures, and measures the longest time between two answers.
    """

    def __init__(self, slot: ModelSlot) -> None:
        self._slot = slot
        self._stop = threading.Event()
        self.answers = self.failures = 0
        self.longest_ms = 0.0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Inferring":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        sample = Sample({f"x{number}": 0.1 * number for number in range(FEATURES)})
        before = time.perf_counter()
        while not self._stop.is_set():
            try:
                answered = self._slot.predict(sample) is not None
            except Exception:
                answered = False
            now = time.perf_counter()
            self.longest_ms = max(self.longest_ms, (now - before) * 1000)
            before = now
            self.answers += answered
            self.failures += not answered


def swap_under_inference(paths: list[Path], *, isolated: bool) -> dict[str, float]:
    """Returns the figures of SWAPS swaps, and the longest stall of as much time without a swap.

    Keys end in their unit: `_ms` and `_mb`; `swaps`, `answers` and `failures` are counts.
    """
    runtime = OnnxRuntime()
    assignments = [assignment_for(path.read_bytes(), number + 1) for number, path in enumerate(paths)]
    policy = replace(assignments[0].policy, isolated=isolated)

    def load(path: str, manifest: Manifest) -> Session:
        return runtime.load(path, manifest, policy)

    slot = ModelSlot("bench", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(slot.prepare(assignments[0], load(str(paths[0]), assignments[0].manifest)))
    began = time.perf_counter()
    sizes_mb = []
    with Inferring(slot) as swapping:
        for number in range(1, SWAPS + 1):
            _swap_once(slot, load, assignments[number % 2], paths[number % 2])
            runtime.trim()
            sizes_mb.append(private_mb())
    took_s = time.perf_counter() - began
    with Inferring(slot) as hashing:
        _hash_for(took_s)
    return {
        "swaps": SWAPS,
        "first_mb": sizes_mb[0],
        "last_mb": sizes_mb[-1],
        "answers": swapping.answers,
        "failures": swapping.failures,
        "longest_ms": swapping.longest_ms,
        "hashing_ms": hashing.longest_ms,
    }


def _swap_once(slot: ModelSlot, load: Callable[[str, Manifest], Session], assignment: Assignment, path: Path) -> None:
    before = slot.swap(slot.prepare(assignment, load(str(path), assignment.manifest)))
    assert before is not None
    while before.in_flight:
        time.sleep(0.001)
    del before


def _hash_for(duration_s: float) -> None:
    """Keeps the other core busy with work that holds neither the interpreter's lock nor the allocator's."""
    block, ends = bytes(8_000_000), time.perf_counter() + duration_s
    while time.perf_counter() < ends:
        hashlib.sha256(block)


def private_mb(pid: int | str = "self") -> float:
    """Returns the memory in MB that no other process uses."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--isolated"]
    json.dump(swap_under_inference([Path(name) for name in names], isolated="--isolated" in sys.argv), sys.stdout)
