"""Serving: the time of a call compared with onnxruntime's, the protocol with MLServer's, swaps, idle CPU and start
time.

MLServer needs a virtual environment of its own, and `wrk` must be installed:
    python3 -m venv V && V/bin/pip install mlserver mlserver-sklearn && EDGEWARD_MLSERVER=V make bench ONLY=serving
"""

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.serving.slot import ModelSlot
from benchmarks.device import PORT, Agent, cpu_s, rss_mb, wait_for_answer, write_device
from benchmarks.models import FEATURES, as_onnx, fitted
from benchmarks.swap import assignment_for
from benchmarks.table import Row

CALLS = 5000
WRK_S = 5
ROUNDS = 5
WARM_S = 2
"""Seconds of load before a measurement: both servers still import modules after they report that they are ready."""
MLSERVER_PORT = 8972
IDLE_S = 15.0
BINARY = "1,000 binary rows"
MANY_ROWS = {"1,000 JSON rows": 3.0, BINARY: 12.0}
"""Requests as a multiple of MLServer's, of a model that takes no time itself."""
FIGURES = {"requests/s": "1/s", "requests a CPU second": "1/s", "p50": "ms", "p99": "ms"}
"""Units by figure. Requests by the CPU time of a server hardly depend on what else the machine does."""
STARTS = 9
SWAP_RUNS = 3

_BARE_START = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"X": numpy.zeros((1, 20), dtype=numpy.float32)})
print("answered", flush=True)
"""
_OUR_START = """
import sys, numpy
from agent import Predictor
predictor = Predictor(sys.argv[1])
predictor.model("logreg").run({"X": numpy.zeros((1, 20), dtype=numpy.float32)})
print("answered", flush=True)
predictor.close()
"""
_LUA = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
{header}
"""


def measure() -> list[Row]:
    """Returns the rows of this benchmark. Prints what is missing where MLServer or wrk is not installed."""
    for package in ("agent", "contract"):  # installed packages have bytecode; a checkout may have none
        compileall.compile_dir(Path(__file__).parents[1] / package, quiet=2)
    estimators = {kind: fitted(kind) for kind in ("logreg", "forest-100", "boosted", "mlp")}
    raws = {kind: as_onnx(estimator) for kind, estimator in estimators.items()}
    rows = [_in_process(kind, raw) for kind, raw in raws.items()]
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        rows += _protocol(Path(scratch), estimators, raws)
        rows += [_idle(Path(scratch), raws["logreg"]), _start(Path(scratch), raws["logreg"])]
        rows += _swaps(Path(scratch))
    return rows


def _in_process(kind: str, raw: bytes) -> Row:
    assignment = assignment_for(raw, 1)
    session = OnnxSession(raw, assignment.manifest)
    slot = ModelSlot("bench", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(slot.prepare(assignment, session))
    bare, names = session._session, ["label", "probabilities"]
    inputs = {"X": np.full((1, FEATURES), 0.1, dtype=np.float32)}
    ours, theirs = [], []
    for _ in range(CALLS):  # interleaved, so that a disturbance of the machine affects both
        began = time.perf_counter()
        slot.run(inputs)
        between = time.perf_counter()
        bare.run(names, inputs)
        theirs.append(time.perf_counter() - between)
        ours.append(between - began)
    p50 = [float(np.median(times)) * 1e6 for times in (ours, theirs)]
    return Row(f"one row in-process, {kind}: p50", p50[0], p50[1], "us", "InferenceSession.run", goal=1.25)


def _protocol(scratch: Path, estimators: dict[str, Any], raws: dict[str, bytes]) -> list[Row]:
    venv = os.environ.get("EDGEWARD_MLSERVER", "")
    if not venv or shutil.which("wrk") is None:
        print("serving: EDGEWARD_MLSERVER or wrk is missing, so MLServer is not compared", file=sys.stderr)
        return []
    rows = []
    for kind, times in (("logreg", 8.0), ("forest-100", 80.0)):
        device = write_device(scratch / f"device-{kind}", {kind: raws[kind]})
        with (
            Agent(device) as agent,
            _mlserver(scratch / f"mlserver-{kind}", kind, estimators[kind], Path(venv)) as them,
        ):
            servers = (_Server(PORT, kind, "X", agent.process.pid), _Server(MLSERVER_PORT, kind, "predict", them.pid))
            ours, theirs = _load(scratch, *servers)
        for case in ours:
            yardstick = f"MLServer, {kind}"
            if case not in theirs:
                yardstick, theirs[case] = f"{yardstick}, as JSON", theirs["1,000 JSON rows"]
            goal = {"one JSON row": times, **(MANY_ROWS if kind == "logreg" else {})}.get(case)
            for figure, unit in FIGURES.items():
                bound = goal if "requests" in figure else 0.2 if case == "one JSON row" and figure == "p99" else None
                if case != "RSS":
                    row = (ours[case][figure], theirs[case][figure])
                    rows.append(Row(f"{case}, {kind}: {figure}", *row, unit, yardstick, bound, "requests" in figure))
        rows.append(Row(f"RSS under load, {kind}", ours["RSS"]["MB"], theirs["RSS"]["MB"], "MB", "MLServer", goal=0.45))
    return rows


@dataclass(frozen=True)
class _Server:
    """A server that runs on core 0."""

    port: int
    kind: str
    input: str
    pid: int


@contextmanager
def _mlserver(directory: Path, kind: str, estimator: Any, venv: Path) -> Iterator[subprocess.Popen[bytes]]:
    import joblib

    directory.mkdir(parents=True)
    joblib.dump(estimator, directory / "model.joblib")
    uri = {"uri": "./model.joblib", "version": "1"}
    implementation = "mlserver_sklearn.SKLearnModel"
    (directory / "model-settings.json").write_text(
        json.dumps({"name": kind, "implementation": implementation, "parameters": uri})
    )
    ports = {"http_port": MLSERVER_PORT, "grpc_port": MLSERVER_PORT + 1, "metrics_port": MLSERVER_PORT + 2}
    settings = {"parallel_workers": 0, "debug": False, "host": "127.0.0.1", **ports}
    (directory / "settings.json").write_text(json.dumps(settings))
    server = subprocess.Popen(
        ["taskset", "-c", "0", str(venv / "bin" / "mlserver"), "start", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_answer("127.0.0.1", MLSERVER_PORT, f"/v2/models/{kind}/ready")
        yield server
    finally:
        server.terminate()
        server.wait(timeout=20)


def _load(directory: Path, *servers: _Server) -> list[dict[str, dict[str, float]]]:
    """Runs wrk from the other core with 8 connections. Returns rates, latencies and resident memory for each server.

    Servers are asked in turn, ROUNDS times, and the median of each figure is taken, because a single run may meet a
    busy machine.
    """
    found: list[dict[str, dict[str, float]]] = [{} for _ in servers]
    for case, rows, binary in (("one JSON row", 1, False), ("1,000 JSON rows", 1000, False), (BINARY, 1000, True)):
        values = np.random.default_rng(0).normal(size=(rows, FEATURES)).round(4).astype(np.float32)
        asks = _asks(servers, values, binary=binary)
        for each in asks.values():
            _wrk(directory, *each, duration_s=WARM_S)
        rounds = [
            {number: _wrk(directory, *each, pid=servers[number].pid) for number, each in asks.items()}
            for _ in range(ROUNDS)
        ]
        for number in asks:
            runs = [round_[number] for round_ in rounds]
            found[number][case] = {figure: float(np.median([run[figure] for run in runs])) for figure in runs[0]}
    return [each | {"RSS": {"MB": rss_mb(server.pid)}} for each, server in zip(found, servers, strict=True)]


def _asks(servers: Sequence[_Server], values: Any, *, binary: bool) -> dict[int, tuple[str, bytes, dict[str, str]]]:
    """Returns (address, body, headers) by the number of the server, for each server that accepts such a request."""
    found = {}
    for number, server in enumerate(servers):
        body, headers = _binary_body(server.input, values) if binary else (_json_body(server.input, values), {})
        url = f"http://127.0.0.1:{server.port}/v2/models/{server.kind}/infer"
        if not binary or _takes(url, body, headers):
            found[number] = (url, body, headers)
    return found


def _json_body(name: str, values: Any) -> bytes:
    tensor = {"name": name, "shape": values.shape, "datatype": "FP32", "data": values.ravel().round(4).tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def _binary_body(name: str, values: Any) -> tuple[bytes, dict[str, str]]:
    raw = values.tobytes()
    tensor = {"name": name, "shape": values.shape, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}


def _takes(url: str, body: bytes, headers: dict[str, str]) -> bool:
    """Returns whether a server answers this request with status 200.

    MLServer 1.7.1 does not support the binary extension over HTTP: it parses every body as JSON.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def _wrk(
    directory: Path, url: str, body: bytes, headers: dict[str, str], *, pid: int = 0, duration_s: int = WRK_S
) -> dict[str, float]:
    """Runs wrk once; `pid` is the process of the server whose CPU time is read, 0 for none."""
    script, given = directory / "body.lua", directory / "body"
    given.write_bytes(body)
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(_LUA.format(body=given, header=lines))
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c8", f"-d{duration_s}", "--latency", "-s", str(script), url]
    before_s = cpu_s(pid) if pid else 0.0
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent_s = cpu_s(pid) - before_s if pid else 1.0
    assert "Non-2xx" not in said, said
    rate, count = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"(\d+) requests in", said)
    assert rate is not None, said
    assert count is not None, said
    found = {"requests/s": float(rate[1]), "requests a CPU second": int(count[1]) / max(spent_s, 0.01)}
    return found | {"p50": _quantile_ms(said, 50), "p99": _quantile_ms(said, 99)}


def _quantile_ms(said: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", said)
    assert found is not None, said
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def _idle(scratch: Path, raw: bytes) -> Row:
    import http.client

    body = json.dumps({"inputs": [{"name": "X", "shape": [1, FEATURES], "datatype": "FP32", "data": [0.1] * FEATURES}]})
    with Agent(write_device(scratch / "idle", {"logreg": raw})) as agent:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        time.sleep(2)
        before, began = cpu_s(agent.process.pid), time.perf_counter()
        while time.perf_counter() - began < IDLE_S:
            connection.request("POST", "/v2/models/logreg/infer", body)
            assert connection.getresponse().read()
            time.sleep(0.1)
        spent = (cpu_s(agent.process.pid) - before) / (time.perf_counter() - began)
    return Row("CPU at 10 inferences a second", spent * 100, 100.0, "%", "one core", goal=0.03)


def _start(scratch: Path, raw: bytes) -> Row:
    config = write_device(scratch / "start", {"logreg": raw})
    config.write_text(config.read_text().partition("[serving]")[0])
    model = scratch / "logreg.onnx"
    model.write_bytes(raw)
    ours, bare = [], []
    for _ in range(STARTS):
        ours.append(_answered_s(_OUR_START, config))
        bare.append(_answered_s(_BARE_START, model))
    medians = [float(np.median(times)) * 1000 for times in (ours, bare)]
    return Row(
        "process start to first answer, in-process", medians[0], medians[1], "ms", "import, session, one run", goal=1.5
    )


def _answered_s(program: str, argument: Path) -> float:
    command = ["taskset", "-c", "0", sys.executable, "-c", program, str(argument)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"answered\n"
        return time.perf_counter() - began


def _swaps(scratch: Path) -> list[Row]:
    rows = []
    for name, kind in (("300 trees", "forest-300"), ("800 trees", "forest-800"), ("MLP", "mlp-20MB")):
        paths = [scratch / f"{kind}-{number}.onnx" for number in range(2)]
        for number, path in enumerate(paths):
            path.write_bytes(as_onnx(fitted(kind, number)))
        size_mb = paths[0].stat().st_size / 1e6
        for how in ("", "--isolated"):
            command = [sys.executable, "-m", "benchmarks.swap", *map(str, paths), *how.split()]
            runs = [_swap_run(command) for _ in range(SWAP_RUNS)]
            rows += _swap_rows(f"{name} ({size_mb:.0f} MB){', isolated' if how else ''}", runs)
    return rows


def _swap_run(command: list[str]) -> dict[str, float]:
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def _swap_rows(what: str, runs: list[dict[str, float]]) -> list[Row]:
    """Returns the rows for runs of one model.

    The median of the longest stalls is taken: a swap's own cost shows in every run, but a pause of the machine only in
    one.
    """
    failures, answers, swaps = (sum(run[key] for run in runs) for key in ("failures", "answers", "swaps"))
    stall_ms, machine_ms = (float(np.median([run[key] for run in runs])) for key in ("longest_ms", "hashing_ms"))
    grown = max(runs, key=lambda run: run["last_mb"] / run["first_mb"])
    stall = f"{what}: longest stall of 100 swaps, median of {SWAP_RUNS} runs"
    return [
        Row(f"{what}, {swaps} swaps, {answers} answers: failed", failures, 0, "", "none may fail", goal=0),
        Row(stall, stall_ms, 15.0, "ms", "the limit", goal=1.0),
        Row(stall, stall_ms, machine_ms, "ms", "the same loop beside hashing"),
        Row(f"{what}: private memory", grown["last_mb"], grown["first_mb"], "MB", "after one swap", goal=1.1),
    ]
