"""A real session that no longer answers its golden set is found on a real disk, and loaded again or rolled back."""

import ctypes
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace

from agent.adapters.posix_disk import PosixDisk
from agent.adapters.runtime.onnx_runtime import OnnxRuntime, OnnxSession
from agent.assembly import Assembly, Ports
from agent.config import Config, Device
from agent.core.model import Assignment, Record, Trial
from agent.flash.store import Store
from agent.models.golden_probes import (
    AGAIN_S,
    DAY_S,
    LOOK_S,
)
from agent.serving.slot import ModelSlot
from agent.stimuli import Identity, Woke
from contract.blobs import Blob, describe
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.golden import join_golden, with_tolerances
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from contract.tensors import encode_tensors

WEEK_S = 7 * 86_400.0
ROWS = np.random.default_rng(25).normal(size=(16, 8)).astype(np.float32)


class RealDevice:
    """The real parts of a device on a real disk with onnxruntime; time and messages are the test's."""

    def __init__(self, directory: Path, *, trial: bool = False, holds: Callable[[], bool] = bool) -> None:
        store = Store(PosixDisk(directory))
        stable, other = (_assignment(store, number) for number in (1, 2))
        record = Record(generation=1, stable=stable)
        if trial:
            record = replace(record, generation=2, trial=other, trial_boots=1)
        store.save_record("m", record)
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.now, self.holds = 0.0, holds
        config = Config(device=Device(name="d"))
        self.parts = Assembly(config, Identity("d", "sim", {}), self._ports(directory))
        self.agent = self.parts.agent
        self.agent.boot(0.0)
        self.wake(1.0)

    def _ports(self, directory: Path) -> Ports:
        return Ports(
            disk=PosixDisk(directory), link=_NoLink(), runtime=OnnxRuntime(), enqueue=self.inbox.put,
            wall_clock=lambda: datetime.fromtimestamp(1_800_000_000.0 + self.now, UTC),
            local_clock=lambda: datetime(2027, 1, 1, tzinfo=UTC), perf_s=time.perf_counter,
            new_lock=threading.Lock, random=lambda: 0.5, boot=7, holds=self.holds,
        )  # fmt: skip

    @property
    def slot(self) -> ModelSlot:
        return self.parts.slots["m"]

    @property
    def said(self) -> Any:
        return self.agent.models["m"].message()

    @property
    def session(self) -> Any:
        assert self.slot.serving is not None
        return self.slot.serving.session

    def wake(self, after_s: float) -> None:
        """Advances the clock in steps, so that a probe that waits for an idle device can start."""
        for step_s in (after_s, LOOK_S, LOOK_S):
            self.now += step_s
            self.agent.receive(Woke(), self.now)

    def probe_ends(self) -> None:
        """Waits for the child process that examines a version."""
        self.agent.receive(self.inbox.get(timeout=60), self.now)

    def answer(self) -> Any:
        return self.slot.run({"X": ROWS[:1]})[0]


def test_the_heartbeat_of_a_device_that_is_never_probed_says_so(tmp_path: Path) -> None:
    device = RealDevice(tmp_path, holds=lambda: True)
    device.wake(20 * DAY_S)
    device.agent._heartbeat(device.now)
    assert device.agent.faults == {"golden_overdue": "m: no golden probe for 20 days: an application holds updates"}


def test_a_flipped_bit_in_the_weights_of_a_session_is_found_and_the_model_is_loaded_again(tmp_path: Path) -> None:
    device = RealDevice(tmp_path)
    assert device.said.golden.passed
    right = device.answer()
    assert flip_a_bit(weights(1)[3].tobytes())
    assert not np.allclose(device.answer(), right), "it answers wrongly and says nothing"
    broken = device.session
    device.wake(2 * WEEK_S)
    for _ in range(ROWS.shape[0]):  # it is overdue, and runs row by row
        if device.said.golden.passed:
            device.wake(1.0)
    probe = device.said.golden
    assert (probe.passed, probe.rows) == (False, 16)
    assert probe.missed > 0
    assert device.said.phase == "probing"
    device.probe_ends()
    device.wake(1.0)
    assert device.session is not broken
    assert np.allclose(device.answer(), right)
    assert (device.said.phase, device.said.code, device.said.golden.passed) == ("steady", "", True)


def test_a_session_that_was_replaced_by_a_wrong_one_is_found(tmp_path: Path) -> None:
    device = RealDevice(tmp_path)
    serving = device.slot.serving
    assert serving is not None
    serving.session = OnnxSession(_model(weights(2)), serving.assignment.manifest)
    device.wake(1.0)
    assert not device.said.golden.passed


def test_a_device_that_cannot_compute_right_answers_repairs_once_then_reports_it_and_still_serves(
    tmp_path: Path,
) -> None:
    device = RealDevice(tmp_path)
    wrong = OnnxSession(_model(weights(2)), device.agent.models["m"].state.record.stable.manifest)
    device.parts.agent._runtime.load = lambda *_: wrong  # type: ignore[method-assign,union-attr]
    serving = device.slot.serving
    assert serving is not None
    serving.session = wrong
    device.wake(1.0)
    device.probe_ends()
    for _ in range(4):
        device.wake(2 * AGAIN_S)
    assert (device.said.phase, device.said.code) == ("steady", Code.GOLDEN_MISMATCH)
    assert device.inbox.empty(), "it has not begun to repair again"
    assert device.answer() is not None


def test_a_trial_whose_session_fails_its_golden_set_is_rolled_back(tmp_path: Path) -> None:
    device = RealDevice(tmp_path, trial=True)
    assert isinstance(device.agent.models["m"].state, Trial)
    serving = device.slot.serving
    assert serving is not None
    serving.session = OnnxSession(_model(weights(3)), serving.assignment.manifest)
    device.wake(1.0)
    assert device.said.outcome.result == "rolled_back"
    assert device.said.outcome.code == Code.GOLDEN_MISMATCH
    assert device.said.serving == device.said.stable.digest


def weights(release: int) -> Any:
    """Returns new weights of a version each time, so that a search of memory finds only those of sessions."""
    return release * np.random.default_rng(24).normal(size=(8, 4)).astype(np.float32)


def flip_a_bit(pattern: bytes) -> int:
    """Flips the top bit of the exponent's lowest byte wherever these bytes lie in this process; returns how often."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, rights, _, _, _, *path = line.split()
        if not rights.startswith("rw") or (path and path != ["[heap]"]):
            continue
        low, high = (int(part, 16) for part in span.split("-"))
        memory = (ctypes.c_char * (high - low)).from_address(low)
        view, at = memoryview(memory).cast("B"), -1
        found += [low + at for at in _places(view, pattern)]
    for at in found:
        ctypes.c_ubyte.from_address(at + 3).value ^= 0x40
    return len(found)


def _places(view: memoryview, pattern: bytes) -> Iterator[int]:
    array = np.frombuffer(view, dtype=np.uint32)
    wanted = np.frombuffer(pattern, dtype=np.uint32)
    for at in np.flatnonzero(array[: len(array) - len(wanted)] == wanted[0]):
        if (array[at : at + len(wanted)] == wanted).all():
            yield int(at) * 4


def _model(w: Any) -> bytes:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["X", "W"], ["Y"])], "g",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [None, 8])],
        [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, [None, 4])],
        [onnx.numpy_helper.from_array(w, "W")],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 18)
    return bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def _assignment(store: Store, release: int) -> Assignment:
    """A version on flash with its golden set."""
    answers = {"Y": ROWS @ weights(release)}
    golden = encode_tensors(join_golden({"X": ROWS}, answers) | with_tolerances(answers, alone=True))
    manifest = Manifest(
        release=release, artifact=_kept(store, _model(weights(release))),
        golden=Golden(
            blob=_kept(store, golden), rows=16, rtol=Decimal("1e-4"), atol=Decimal("1e-4"),
            max_row_mismatch_ratio=Decimal("0.02"),
        ),
        task="regression", inputs=(Tensor(name="X", datatype="FP32", shape=(-1, 8)),),
        outputs=(Tensor(name="Y", datatype="FP32", shape=(-1, 4)),), columns=(), hardware=("sim",),
        runtime=Runtime(ir=8, opset=18, ml_opset=3), limits=ModelLimits(memory_mb=256, load_s=30),
    )  # fmt: skip
    policy = TrialPolicy(boot_budget=9, soak_s=Decimal(100_000), give_up_s=Decimal(1_000_000))
    return Assignment(model="m", generation=release, manifest=manifest, policy=policy)


def _kept(store: Store, data: bytes) -> Blob:
    blob = describe(data, 1 << 16)
    store.write_chunk(blob, 0, data)
    store.seal(blob)
    return blob


class _NoLink:
    """A link that is never up."""

    def publish(self, *_: Any, **__: Any) -> None: ...
    def subscribe(self, *_: Any, **__: Any) -> None: ...
    def unsubscribe(self, *_: Any) -> None: ...
