"""A model in its own process: it may crash, hang or send false data; each request is answered, stable still serves."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.adapters.runtime.shared_tensors import MAX_BYTES, Placed, Region, Said, lay, needed, read_message
from agent.adapters.runtime.worker import MAX_DEATHS, WorkerSession
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Tensor
from firmware_sim.models import SimModel
from firmware_sim.real_models import make_real_model

ROW = {"X": np.array([[2.0]], dtype=np.float32)}


@pytest.fixture
def made() -> SimModel:
    return make_real_model(1, "good")


@pytest.fixture
def worker(made: SimModel, tmp_path: Path) -> Iterator[WorkerSession]:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.artifact)
    found = OnnxRuntime().load(str(path), made.manifest, TrialPolicy(isolated=True))
    assert isinstance(found, WorkerSession)
    yield found
    if found._child is not None:
        found._child.end()


def kill(worker: WorkerSession) -> None:
    if (pid := worker.pid) is not None:
        os.kill(pid, signal.SIGKILL)


def test_a_worker_gives_the_same_answers_as_a_session_in_this_process(made: SimModel, worker: WorkerSession) -> None:
    rows = {"X": np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)}
    assert np.array_equal(worker.run(rows)[0], (rows["X"] > 0).astype(np.int64))


def test_tensors_larger_than_the_shared_region_enlarge_it_in_both_directions(worker: WorkerSession) -> None:
    rows = {"X": np.ones((400_000, 1), dtype=np.float32)}
    (label,) = worker.run(rows)
    assert (label.shape, label.nbytes > 2 * rows["X"].nbytes - 1, label.all()) == ((400_000, 1), True, True)


def test_a_request_that_is_too_large_is_the_callers_fault_and_the_worker_keeps_running(worker: WorkerSession) -> None:
    before = worker.pid
    with pytest.raises(BadInput, match="bytes of tensors, limit"):
        worker.run({"X": np.zeros((MAX_BYTES // 4 + 1024, 1), np.float32)})
    with pytest.raises(BadInput, match="bytes of tensors, limit"):  # twice the bytes are returned
        worker.run({"X": np.zeros((MAX_BYTES // 8 + 1024, 1), np.float32)})
    assert worker.run(ROW)[0].item() == 1
    assert worker.pid == before


def test_text_takes_only_its_own_bytes_for_any_length_of_a_cell() -> None:
    texts = np.array([["x" * 1_000_000], *([f"süd {row}"] for row in range(100)), [""]], dtype=object)
    region = Region()
    laid = lay({"text": texts})
    assert needed(laid) < 1_010_000
    region.grow(2 * needed(laid))
    (placed,) = region.put(laid)
    assert np.array_equal(region.view(placed), texts)
    region.close()


def test_text_of_a_hostile_worker_is_not_read_beyond_the_region() -> None:
    region = Region()
    (placed,) = region.put(lay({"text": np.array(["abc", "d"], dtype=object)}))
    for ends in ([4, 3], [1, 1 << 31]):
        np.ndarray((2,), np.uint32, region._map, placed.offset)[...] = ends
        with pytest.raises(WorldError, match="text that ends"):
            region.view(placed)
    np.ndarray((2,), np.uint32, region._map, placed.offset)[...] = [3, 4]
    region._map[8:9] = b"\xff"
    with pytest.raises(WorldError, match="decode"):
        region.view(placed)
    region.close()


def test_a_worker_accepts_and_returns_text(tmp_path: Path) -> None:
    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in ("text", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["text"], ["same"])], "echo", texts[:1], texts[1:])
    path = tmp_path / "echo.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )
    tensors = [Tensor(name=name, datatype="BYTES", shape=(-1, 1)) for name in ("text", "same")]
    manifest = replace(make_real_model(1, "good").manifest, inputs=(tensors[0],), outputs=(tensors[1],))
    worker = WorkerSession(str(path), manifest)
    given = np.array([["süd"], [""], ["x" * 2_000_000]], dtype=object)
    assert np.array_equal(worker.run({"text": given})[0], given)
    assert worker._child is not None
    worker._child.end()


def test_an_exception_of_the_runtime_is_raised_in_the_agent_and_the_worker_keeps_running(worker: WorkerSession) -> None:
    before = worker.pid
    with pytest.raises(RuntimeError, match="InvalidArgument"):
        worker.run({"X": np.ones((1, 5, 5), dtype=np.float64)})
    assert worker.run(ROW)[0].item() == 1
    assert worker.pid == before


def test_a_model_that_does_not_load_is_named(made: SimModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(WorldError) as caught:
        WorkerSession(str(path), made.manifest)
    assert caught.value.code == Code.MODEL_LOAD_FAILED


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_workers_under_load_leave_no_request_without_an_answer(
    worker: WorkerSession, capsys: pytest.CaptureFixture[str], kills: int
) -> None:
    answered, failed, wrong = [0], [0], list[object]()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                if worker.run(ROW)[0].item() != 1:
                    wrong.append("a wrong answer")
                answered[0] += 1
            except WorldError as error:
                failed[0] += 1
                if error.code != Code.WORKER_FAILED:
                    wrong.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(kills):
        seen = answered[0]
        deadline = time.monotonic() + 20
        while answered[0] < seen + 5 and time.monotonic() < deadline:
            time.sleep(0.002)
        kill(worker)
    seen = answered[0]
    while answered[0] == seen and thread.is_alive() and time.monotonic() < deadline + 20:
        time.sleep(0.01)
    stop.set()
    thread.join(timeout=20)
    with capsys.disabled():
        print(f"\n  worker: {kills} kills, {answered[0]} answers, {failed[0]} requests in flight failed")
    assert wrong == []
    assert answered[0] >= 5 * kills
    assert failed[0] <= kills
    assert not thread.is_alive()


def test_a_worker_that_hangs_is_killed_at_its_deadline_and_replaced(made: SimModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.artifact)
    worker = WorkerSession(str(path), made.manifest, deadline_s=0.3)
    before = worker.pid
    assert before is not None
    os.kill(before, signal.SIGSTOP)
    with pytest.raises(WorldError, match=r"no answer in 0\.3 s"):
        worker.run(ROW)
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert worker.run(ROW)[0].item() == 1


def test_a_worker_that_always_dies_is_started_less_and_less_often(made: SimModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.artifact)
    now = [0.0]
    worker = WorkerSession(str(path), made.manifest, monotonic=lambda: now[0])
    for _ in range(MAX_DEATHS):
        deadline = time.monotonic() + 10
        while worker.pid is None and time.monotonic() < deadline:
            time.sleep(0.01)
        kill(worker)
        with pytest.raises(WorldError):
            worker.run(ROW)
    with pytest.raises(WorldError, match="died 3 times in a row; next start in 1 s"):
        worker.run(ROW)
    now[0] += 1.0
    assert worker.run(ROW)[0].item() == 1


def test_a_worker_ends_with_the_session_that_owns_it(made: SimModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.artifact)
    worker = WorkerSession(str(path), made.manifest)
    pid = worker.pid
    assert pid is not None
    del worker
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "lie",
    [
        Placed("label", "<i8", [1 << 40], 0),
        Placed("label", "<i8", [-1], 0),
        Placed("label", "<i8", [1], -8),
        Placed("label", "<i8", [1], 1 << 30),
        Placed("label", "O", [1], 0),
        Placed("label", "no type", [1], 0),
    ],
)
def test_a_hostile_worker_cannot_make_the_agent_read_beyond_the_region(lie: Placed) -> None:
    region = Region()
    try:
        with pytest.raises(WorldError) as caught:
            region.view(lie)
        assert caught.value.code == Code.WORKER_FAILED
        with pytest.raises(PermissionError):
            os.ftruncate(region.fd, 16)
    finally:
        region.close()


def test_a_malformed_message_of_a_worker_ends_the_connection() -> None:
    for raw in (b"\xff\xff\xff\x7f", b"\x02\0\0\0{]", b"\x09\0\0\0{}"):
        reads, writes = os.pipe()
        os.write(writes, raw)
        os.close(writes)
        assert read_message(reads) is None
        os.close(reads)
    assert Said().tensors == []
