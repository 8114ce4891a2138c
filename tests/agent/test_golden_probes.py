"""The session that answers is probed by its golden set: when, at which cost, and the result of a miss."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.config import GoldenConfig
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
from contract.attestation import MAX_PROBE_AGE_S
from contract.errors import Code
from tests.agent.golden_worlds import answers_wrongly
from tests.agent.test_lineup import SAME, STABLE, WRONG
from tests.agent.test_lineup import Device as ModelOnBench

WEEK_S = 7 * 86_400.0


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
