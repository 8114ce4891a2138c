"""The probe as a child process: confine, scan, load, answer the golden inputs, measure. JSON on stdin and stdout.

Decides whether this device's runtime answers as the converter's did. Refuses to know what happens to the model after
that.
"""

import json
import mmap
import resource
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent.adapters.runtime.onnx_runtime import OnnxSession, to_runtime_inputs
from agent.adapters.runtime.session_settings import SessionSettings
from confinement.bounds import Bounds
from confinement.process import FULL, confine
from confinement.surroundings import library_paths
from contract.errors import BadInput, Code
from contract.golden import answers, by_run, mismatched_rows, one_run, ranks_of, split_golden
from contract.manifest import Manifest
from contract.onnx_scan import scan_onnx
from contract.tensors import decode_tensors

MIN_RUNS, MAX_RUNS = 5, 1_000
MEASURE_S = 0.05


def main() -> None:
    """Reads a request from stdin, writes the report to stdout."""
    request = json.load(sys.stdin)
    manifest = msgspec.convert(request["manifest"], Manifest)
    settings = msgspec.convert(request.get("settings", {}), SessionSettings)
    golden = decode_tensors(Path(request["golden"]).read_bytes())
    artifact = Path(request["artifact"])
    bounds = Bounds(manifest.limits.memory_mb, cpu_s=manifest.limits.load_s)
    sandbox = confine(bounds, [artifact, *library_paths()])
    if sandbox != FULL and request["require_sandbox"]:
        answer: dict[str, Any] = {"code": Code.SANDBOX_MISSING, "detail": sandbox}
    else:
        answer = _scan(artifact) or _probe(str(artifact), manifest, golden, settings)
    json.dump({"sandbox": sandbox, **answer}, sys.stdout)


def _scan(artifact: Path) -> dict[str, Any]:
    """Scans the file before any library parses it. Returns the error's code and detail, or an empty dict."""
    try:
        with artifact.open("rb") as file:
            scan_onnx(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
    except (BadInput, ValueError) as error:
        return {"code": Code.MODEL_REFUSED, "detail": str(error)[:300]}
    return {}


def _probe(artifact: str, manifest: Manifest, golden: dict[str, Any], settings: SessionSettings) -> dict[str, Any]:
    began, idle_mb = time.perf_counter(), _peak_mb()
    try:
        session = OnnxSession(artifact, manifest, settings)
    except Exception as error:  # onnxruntime's exceptions share no base class
        return {"code": Code.MODEL_LOAD_FAILED, "detail": f"{type(error).__name__}: {error}"[:300]}
    load_ms = (time.perf_counter() - began) * 1000
    inputs, expected = split_golden(golden, manifest)
    inputs, ranks = to_runtime_inputs(inputs), ranks_of(manifest)
    try:
        outputs = answers(session.run, inputs, ranks)
        latency_ms = _latency_ms(session, _smallest(inputs, manifest))
    except Exception as error:
        return {"code": Code.PROBE_FAILED, "detail": f"golden inputs: {type(error).__name__}: {error}"[:300]}
    missed = mismatched_rows(expected, outputs, manifest.golden, golden, manifest)
    measured = {"load_ms": load_ms, "latency_ms": latency_ms, "memory_mb": _peak_mb() - idle_mb}
    if missed > float(manifest.golden.max_row_mismatch_ratio) * manifest.golden.rows:
        detail = f"{missed} of {manifest.golden.rows} golden rows differ from the recorded answers"
        return {"code": Code.PROBE_MISMATCH, "detail": detail, **measured}
    return measured


def _smallest(inputs: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """Returns one row if the model takes any number of them, else the rows of one run."""
    ranks = ranks_of(manifest)
    takes_any = all(tensor.shape[:1] in ((-1,), ()) for tensor in manifest.session_inputs)
    return one_run(inputs, ranks) if takes_any or by_run(inputs, ranks) else inputs


def _latency_ms(session: OnnxSession, inputs: dict[str, Any]) -> float:
    """The median of so many runs as fit into MEASURE_S, from MIN_RUNS to MAX_RUNS: a small model's say more."""
    times: list[float] = []
    while len(times) < MIN_RUNS or (len(times) < MAX_RUNS and sum(times) < MEASURE_S):
        began = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1000


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
