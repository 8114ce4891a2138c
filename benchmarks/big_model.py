"""Registers a large ONNX file with a real controller, compared with a plain aiohttp server that writes the same upload.

Decides what a plain upload is: the same multipart body, written to a file on the same disk, and never read. Both
servers are separate processes; both get the body from the same client. Memory is resident memory, as the kernel counts
its peak, beyond what the process held before the upload.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import aiohttp
import numpy as np
from onnx import TensorProto, helper

from benchmarks.table import Row
from edgeward.encode import encode_rows

SIZES_MB = tuple(int(size) for size in os.environ.get("BIG_MODEL_MB", "300,1000").split(","))
ROOM_MB = 64
"""MB that a registration may hold besides the model itself."""
GOAL = 0.8
ROUNDS = 3
"""Uploads to each server, in turn: the best of each counts, because the machine may do other work."""
WIDTH, FEATURES, SAMPLE_ROWS = 2048, 16, 100
LOOK_S = 0.02
_PLAIN = """
import sys
from pathlib import Path
from aiohttp import web

async def take(request):
    async for part in await request.multipart():
        with (Path(sys.argv[1]) / part.name).open("wb") as file:
            while piece := await part.read_chunk(262144):
                file.write(piece)
    return web.json_response({})

app = web.Application(client_max_size=0)
app.router.add_post("/", take)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None)
"""
_LOAD = """
import hashlib, sys
import numpy as np
import onnxruntime as ort
with open(sys.argv[1], "rb") as file:
    hashlib.file_digest(file, "sha256")
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"X": np.zeros((int(sys.argv[2]), int(sys.argv[3])), np.float32)})
"""
_CONFIG = """
[storage]
data_dir = "{data_dir}"
[api]
port = 0
[broker]
url = "embedded"
port = 0
"""


def measure() -> list[Row]:
    """Returns the rows of every size."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeward-big-") as scratch:
        for size_mb in SIZES_MB:
            rows += _of_size(Path(scratch), size_mb)
    return rows


def _of_size(scratch: Path, size_mb: int) -> list[Row]:
    model, name = scratch / "model.onnx", f"ONNX of {size_mb} MB"
    write_model(model, size_mb, seed=0)
    sample = encode_rows(np.random.default_rng(0).normal(size=(SAMPLE_ROWS, FEATURES)).astype(np.float32))
    megabytes = model.stat().st_size / 2**20
    plain_s, ours_s, sent_s, needed_s = (list[float]() for _ in range(4))
    with _plain(scratch) as plain_url, _controller(scratch) as (url, token, pid):
        _upload(f"{url}/v1/models/warm/versions", token, _small(scratch), sample)
        for number in range(ROUNDS):
            write_model(model, size_mb, seed=number)  # other bytes: an identical push makes no version
            plain_s.append(_upload(plain_url, "", model, sample)[0])
            needed_s.append(plain_s[-1] + _loaded(model))
            with _Memory(pid) as held:
                took_s, body_s = _upload(f"{url}/v1/models/big-{number}/versions", token, model, sample)
            ours_s.append(took_s)
            sent_s.append(body_s)
    room, room_is = megabytes + ROOM_MB, f"the file and {ROOM_MB} MB"
    best, needed = megabytes / min(plain_s), megabytes / min(needed_s)
    return [
        Row(f"{name}: received", megabytes / min(sent_s), best, "MB/s", "plain aiohttp upload", GOAL, at_least=True),
        Row(f"{name}: registered, loaded and run", megabytes / min(ours_s), best, "MB/s", "plain aiohttp upload"),
        Row(f"{name}: registered", megabytes / min(ours_s), needed, "MB/s", "upload, sha256, one load, one answer"),
        Row(f"{name}: the controller's memory", held.own_mb, room, "MB", room_is, goal=1.0),
        Row(f"{name}: the converting child's memory", held.child_mb[False], room, "MB", room_is, goal=1.0),
        Row(f"{name}: the measuring child's, as a device's", held.child_mb[True], room, "MB", room_is),
    ]


def write_model(path: Path, size_mb: int, *, seed: int) -> None:
    """Writes a network of `size_mb` MB: layers of 16 MB, with random weights that keep their answers apart."""
    rng, nodes, weights = np.random.default_rng(seed), [], []

    def layer(number: int, rows: int, columns: int) -> None:
        values = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(rows**-0.5)
        weights.append(helper.make_tensor(f"w{number}", TensorProto.FLOAT, values.shape, values.tobytes(), raw=True))
        nodes.append(helper.make_node("MatMul", [f"h{number}" if number else "X", f"w{number}"], [f"m{number}"]))
        nodes.append(helper.make_node("Tanh", [f"m{number}"], [f"h{number + 1}"]))

    count = max(1, size_mb * 2**20 // (WIDTH * WIDTH * 4))
    layer(0, FEATURES, WIDTH)
    for number in range(1, count + 1):
        layer(number, WIDTH, WIDTH)
    layer(count + 1, WIDTH, 1)
    takes = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, FEATURES])
    gives = helper.make_tensor_value_info(f"h{count + 2}", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "model", [takes], [gives], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(made.SerializeToString())


def _loaded(model: Path) -> float:
    """Returns the time in which a fresh process hashes a model, loads it and answers once: no check can be faster."""
    command = [sys.executable, "-c", _LOAD, str(model), str(SAMPLE_ROWS), str(FEATURES)]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _small(scratch: Path) -> Path:
    write_model(scratch / "small.onnx", 16, seed=99)
    return scratch / "small.onnx"


def _upload(url: str, token: str, model: Path, sample: bytes) -> tuple[float, float]:
    """Returns (seconds until the answer, seconds until the body was sent)."""

    async def run() -> tuple[float, float]:
        form = aiohttp.FormData()
        form.add_field("request", json.dumps({"kind": "onnx"}), content_type="application/json")
        form.add_field("sample", sample, filename="sample", content_type="application/octet-stream")
        timeout = aiohttp.ClientTimeout(total=900)
        with model.open("rb") as file:
            form.add_field("model", file, filename="model", content_type="application/octet-stream")
            async with aiohttp.ClientSession(timeout=timeout, trace_configs=[_traced(sent)]) as session:
                began = time.perf_counter()
                async with session.post(url, data=form, headers={"Authorization": f"Bearer {token}"}) as answer:
                    body = await answer.text()
                took_s = time.perf_counter() - began
        if answer.status >= 400:
            raise RuntimeError(body[:500])
        return took_s, sent[-1] - began

    sent: list[float] = []
    return asyncio.run(run())


def _traced(sent: list[float]) -> aiohttp.TraceConfig:
    """Notes the time of each piece of the body that is sent."""

    async def note(*_: object) -> None:
        sent.append(time.perf_counter())

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(note)
    return config


@contextmanager
def _plain(scratch: Path) -> Iterator[str]:
    port, directory = _free_port(), scratch / "plain"
    directory.mkdir(exist_ok=True)
    with _process([sys.executable, "-c", _PLAIN, str(directory), str(port)]):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def _controller(scratch: Path) -> Iterator[tuple[str, str, int]]:
    """(address, token, process) of a controller with an empty store."""
    with tempfile.TemporaryDirectory(dir=scratch) as data_dir:
        config = Path(data_dir) / "controller.toml"
        config.write_text(_CONFIG.format(data_dir=data_dir))
        command = str(Path(sys.executable).with_name("edgeward-controller"))
        with _process([command, "run", "-c", str(config)]) as process:
            found = Path(data_dir) / "controller.json"
            while not found.exists():
                time.sleep(0.1)
            url = json.loads(found.read_text())["url"]
            yield url, (Path(data_dir) / "token").read_text().strip(), process.pid


@contextmanager
def _process(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(1)
            yield process
        finally:
            process.terminate()


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class _Memory:
    """Measures the memory that a process and each of its children take beyond what they held first, while the block
    lasts.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._look = threading.Thread(target=self._watch)
        self.own_mb = 0.0
        self.child_mb = {False: 0.0, True: 0.0}
        """The largest of the children that measure (True), and of all others."""
        self._first_mb: dict[int, float] = {}

    def __enter__(self) -> "_Memory":
        Path(f"/proc/{self._pid}/clear_refs").write_text("5", encoding="ascii")  # resets its peak
        self._before_mb = _status_mb(self._pid, "VmRSS")
        self._look.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._look.join()
        self.own_mb = _status_mb(self._pid, "VmHWM") - self._before_mb

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            for pid in _children(self._pid):
                with suppress(OSError, StopIteration):
                    now_mb = _status_mb(pid, "VmRSS")
                    first_mb = self._first_mb.setdefault(pid, now_mb)
                    measures = b"convert.measure" in Path(f"/proc/{pid}/cmdline").read_bytes()
                    self.child_mb[measures] = max(self.child_mb[measures], now_mb - first_mb)


def _children(pid: int) -> list[int]:
    """Returns the children of a process, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in task.read_text(encoding="ascii").split()]
    return found + [each for child in found for each in _children(child)]


def _status_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    from benchmarks.table import show

    show("big_model", measure())
