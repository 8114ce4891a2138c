"""The session that answers is probed by its golden set: when, at which cost, and the result of a miss."""

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
import pytest
from msgspec.structs import replace

from agent.adapters.posix_disk import PosixDisk
from agent.adapters.runtime.onnx_runtime import OnnxRuntime, OnnxSession
from agent.assembly import Assembly, Ports
from agent.config import Config, Device, GoldenConfig
from agent.core.model import Assignment, Record, Trial
from agent.flash.store import Store
from agent.models.golden_probes import (
    AGAIN_S,
    DAY_S,
    GAP_LOOK_S,
    LOOK_S,
    MAX_GAP_LOOKS,
    OVERDUE_S,
    SLICE_S,
    SPREAD,
    ProbeSchedule,
)
from agent.ports import Usage
from agent.serving.slot import ModelSlot
from agent.stimuli import Identity, Woke
from contract.attestation import MAX_PROBE_AGE_S
from contract.blobs import Blob, describe
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.golden import join_golden, with_tolerances
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from contract.tensors import encode_tensors
from tests.agent.golden_worlds import answers_wrongly
from tests.agent.test_lineup import SAME, STABLE, WRONG
from tests.agent.test_lineup import Device as ModelOnBench

WEEK_S = 7 * 86_400.0
ROWS = np.random.default_rng(25).normal(size=(16, 8)).astype(np.float32)


class Bench(ModelOnBench):
    """A model on a device whose heat and load the test decides."""

    def __init__(self, **schedule: Any) -> None:
        self.usage = Usage(40.0, 0.0, None)
        super().__init__()
        self.runtime.usage = lambda: self.usage  # type: ignore[method-assign]
        self.model.probes.schedule = ProbeSchedule(**schedule)

    def probes_between(self, first_s: float, last_s: float) -> list[float]:
        """Returns the times at which probes ended, checked every ten minutes."""
        found = []
        for now in np.arange(first_s, last_s, 600.0):
            self.model.probes.ended.clear()
            for _ in range(3):  # looks follow each other within the ten minutes
                assert self.model.probe_golden(float(now) + LOOK_S * _) is None
            found += [float(now)] if self.model.probes.ended else []
        return found


def test_a_session_is_probed_at_once_and_then_at_an_interval_of_its_device() -> None:
    early, late = Bench(spread=0.0), Bench(spread=1.0)
    (first, second), (also_first, later) = early.probes_between(0, WEEK_S), late.probes_between(0, 1.4 * WEEK_S)
    assert first == also_first == 0.0
    assert 0.74 * WEEK_S < second < 0.76 * WEEK_S
    assert 1.24 * WEEK_S < later < 1.26 * WEEK_S


def test_a_new_session_is_probed_regardless_of_the_result_of_the_last_session() -> None:
    bench = Bench()
    bench.model.probe_golden(0.0)
    before = bench.model.message().golden
    assert before is not None
    assert (before.digest, before.golden) == (STABLE.manifest.artifact.sha256, STABLE.manifest.golden.blob.sha256)
    assert (before.rows, before.missed, before.passed, before.at) == (1, 0, True, 1_800_000_000)
    bench.try_out(SAME)
    bench.model.probe_golden(1.0)
    assert SAME.manifest.artifact.sha256 in bench.model.probes.ended
    assert bench.model.message().golden == before, "the state speaks of stable"


@pytest.mark.parametrize("why", ["hot", "busy", "held"])
def test_a_due_probe_waits_until_the_device_is_cool_idle_and_not_held(why: str) -> None:
    held = [why == "held"]
    bench = Bench(interval_s=1000.0, hot_c=60.0, is_held=lambda: held[0])
    bench.model.probe_golden(0.0)
    bench.model.probes.ended.clear()
    bench.usage = Usage(40.0, 0.0, 61.0 if why == "hot" else 59.0)
    for look in range(1, 100):
        now = 1000.0 + LOOK_S * look
        if why == "busy":
            bench.usage = Usage(40.0, 0.6 * now, 59.0)
        assert bench.model.probe_golden(now) is None
        assert bench.model.wake_at(online=False) <= now + LOOK_S
    assert not bench.model.probes.ended
    held[0], bench.usage = False, Usage(40.0, bench.usage.cpu_s, 59.0)
    for look in range(100, 103):
        bench.model.probe_golden(1000.0 + LOOK_S * look)
    assert bench.model.probes.ended


@pytest.mark.parametrize("why", ["hot", "busy"])
def test_a_device_that_is_never_cool_or_idle_is_probed_once_its_probe_is_overdue(why: str) -> None:
    bench = Bench(interval_s=1000.0, hot_c=60.0)
    bench.model.probe_golden(0.0)
    bench.model.probes.ended.clear()
    for now in np.arange(1000.0, 1000.0 + OVERDUE_S + 2 * LOOK_S, 600.0):
        for look in range(2):
            at = float(now) + LOOK_S * look
            bench.usage = Usage(40.0, 0.6 * at, 59.0) if why == "busy" else Usage(40.0, 0.0, 61.0)
            assert bench.model.probe_golden(at) is None
            assert not bench.model.probes.ended or at >= 1000.0 + OVERDUE_S
    assert bench.model.probes.ended
    assert bench.model.probes.overdue(at) == ""


def test_an_overdue_probe_answers_one_row_at_a_time_and_each_waits_for_a_moment_without_a_request() -> None:
    bench = Bench(interval_s=1000.0)
    bench.model.probe_golden(0.0)
    bench.model.probes.ended.clear()
    rows = []

    def answers(*_: Any) -> Iterator[None]:
        for row in range(3):
            rows.append(row)
            yield
        return 0  # type: ignore[return-value]

    bench.runtime.answer_golden = answers  # type: ignore[method-assign,assignment]
    serving = bench.slot.serving
    assert serving is not None
    serving.in_flight.append(None)
    now = 2000.0 + OVERDUE_S
    for _ in range(MAX_GAP_LOOKS):
        bench.model.probe_golden(now)
        assert bench.model.probes.wake_at() == now + GAP_LOOK_S
        now += GAP_LOOK_S
    assert rows == []
    bench.model.probe_golden(now)
    assert rows == [0], "requests that never pause do not prevent it"
    serving.in_flight.pop()
    for done in range(1, 3):
        bench.model.probe_golden(now)
        assert rows == list(range(done + 1))
    bench.model.probe_golden(now)
    assert bench.model.probes.ended


def test_a_probe_that_an_application_holds_back_for_days_is_a_fault_until_it_ends() -> None:
    held = [True]
    bench = Bench(interval_s=1000.0, is_held=lambda: held[0])
    bench.model.probe_golden(0.0)
    for days in range(1, 8):
        bench.model.probe_golden(days * DAY_S)
    words = "no golden probe for 7 days: an application holds updates"
    assert bench.model.probes.overdue(7 * DAY_S) == words
    assert bench.model.probes.overdue(2 * DAY_S) == "", "it is not overdue yet"
    held[0] = False
    bench.model.probe_golden(7 * DAY_S + LOOK_S)
    assert bench.model.probes.overdue(7 * DAY_S + LOOK_S) == ""


def test_a_golden_set_that_cannot_be_read_for_days_is_a_fault() -> None:
    bench = Bench()
    bench.flash.write(f"blob-{STABLE.manifest.golden.blob.sha256}", b"damaged")
    for days in range(5):
        bench.model.probe_golden(days * DAY_S)
    assert bench.model.probes.overdue(4 * DAY_S) == (
        "no golden probe for 4 days: its golden set cannot be read from flash"
    )


def test_a_probe_that_waits_as_long_as_it_can_still_counts_in_an_attestation() -> None:
    longest_s = GoldenConfig().interval_s * (1 + SPREAD / 2) + OVERDUE_S
    assert longest_s + 2 * DAY_S < MAX_PROBE_AGE_S


def test_the_heartbeat_of_a_device_that_is_never_probed_says_so(tmp_path: Path) -> None:
    device = RealDevice(tmp_path, holds=lambda: True)
    device.wake(20 * DAY_S)
    device.agent._heartbeat(device.now)
    assert device.agent.faults == {"golden_overdue": "m: no golden probe for 20 days: an application holds updates"}


def test_a_slow_model_is_probed_in_slices_and_uses_a_tenth_of_a_core() -> None:
    bench = Bench()

    def slowly(*_: Any) -> Iterator[None]:
        for _row in range(64):
            bench.spent_s += SLICE_S / 2.5
            yield
        return 0  # type: ignore[return-value]

    bench.runtime.answer_golden = slowly  # type: ignore[method-assign,assignment]
    bench.model.probes.perf_s = lambda: bench.spent_s
    now, slices = 0.0, 0
    while not bench.model.probes.ended:
        before = bench.spent_s
        bench.model.probe_golden(now)
        assert bench.spent_s - before < 2 * SLICE_S
        bench.model.probe_golden(now)
        assert bench.spent_s - before < 2 * SLICE_S, "it pauses, however often it is asked"
        now, slices = bench.model.probes.wake_at(), slices + 1
        assert slices < 100
    assert slices > 10
    assert bench.spent_s / (now - bench.model.probes.schedule.next_s) <= 0.12


def test_a_session_that_raises_on_its_golden_set_fails_all_of_its_rows() -> None:
    bench = Bench()

    def raises(*_: Any) -> Iterator[None]:
        yield
        raise RuntimeError("illegal instruction")

    bench.runtime.answer_golden = raises  # type: ignore[method-assign,assignment]
    broken = bench.model.probe_golden(0.0)
    assert broken is not None
    assert (broken.code, broken.detail) == (Code.GOLDEN_MISMATCH, "golden inputs: RuntimeError: illegal instruction")
    probe = bench.model.message().golden
    assert probe is not None
    assert (probe.missed, probe.passed) == (1, False)


def test_a_probe_does_not_keep_a_session_alive_that_must_be_unloaded() -> None:
    bench = Bench()
    bench.runtime.answer_golden = answers_wrongly  # type: ignore[method-assign]
    bench.model.probe_golden(0.0)
    bench.free_mb, bench.lineup.memory_mb = 10.0, {WRONG.manifest.artifact.sha256: 100.0}
    assert bench.slot.serving is not None
    sessions = bench.model.probes._session, bench.lineup.distrusted
    bench.try_out(WRONG, unload_first=True)
    assert sessions[1] is not None
    assert sessions[1]() is None


def test_an_unreadable_golden_set_is_not_a_failure_of_the_session() -> None:
    bench = Bench()
    bench.flash.write(f"blob-{STABLE.manifest.golden.blob.sha256}", b"damaged")
    assert bench.model.probe_golden(0.0) is None
    assert bench.model.message().golden is None
    assert bench.model.probes.wake_at() == AGAIN_S


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
