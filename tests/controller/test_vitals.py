"""Vitals of devices: summed over five minutes, stored once, merged to hours later, and deleted with their device."""

import math
from pathlib import Path

import pytest

from contract.messages import ModelInterval, Telemetry, VersionRef
from controller.api.vitals_views import vitals_rows
from controller.fleet.vitals import FIGURES, SPAN_S, Vitals, merged
from controller.reconcile.decisions import SWEEP_S, reconcile
from controller.reconcile.world import World, drop_twin
from controller.rollout.rows import HOUR_S
from controller.telemetry.vitals import FINE_S, KEEP_S, VitalsStore, read_vitals


def said(seq: int, *, cpu: float = 0.5, temperature: float | None = 40.0, latency_bucket: int = 20) -> Telemetry:
    interval = ModelInterval(
        model="m", version=VersionRef(release=1, digest="a" * 64), inferences=60, errors=6,
        latency_counts=(0,) * latency_bucket + (60,),
    )  # fmt: skip
    late = ModelInterval(model="m", version=VersionRef(release=1, digest="a" * 64), inferences=9, errors=9, age_s=60.0)
    return Telemetry(
        protocol=1, device="a", boot=1, seq=seq, interval_s=60.0, intervals=(interval, late), rss_mb=100.0 + seq,
        cpu_ratio=cpu, temperature_c=temperature,
    )  # fmt: skip


def flat(start: float, span_s: float = SPAN_S, level: float = 1.0, messages: int = 5) -> Vitals:
    values = (level,) * len(FIGURES)
    return Vitals(start, span_s, messages, values, values, tuple(value + 1 for value in values))


@pytest.fixture
def store(tmp_path: Path) -> VitalsStore:
    return VitalsStore(tmp_path / "vitals.sqlite")


def heard(world: World, *messages: tuple[float, Telemetry]) -> list[tuple[str, Vitals]]:
    return [row for at, each in messages for row in reconcile(world, [("a", each)], at).vitals]


def test_five_minutes_of_messages_become_one_row_when_the_next_five_start() -> None:
    found = heard(World(silent_s=90.0), *((600.0 + 60 * seq, said(seq, cpu=seq / 10)) for seq in range(1, 6)))
    ((device, row),) = found
    assert (device, row.start, row.messages) == ("a", 600.0, 4)
    named = dict(zip(FIGURES, zip(row.means, row.lows, row.highs, strict=True), strict=True))
    assert named["cpu_ratio"] == pytest.approx((0.25, 0.1, 0.4))
    assert named["rss_mb"] == pytest.approx((102.5, 101.0, 104.0))
    assert named["inferences_s"][0] == 1.0, "labels that come late are no inferences of now"
    assert named["failure_ratio"][0] == 0.1
    assert 2**9.5 < 1000 * named["latency_ms"][0] < 2**10


def test_a_repeated_message_counts_once() -> None:
    world = World(silent_s=90.0)
    heard(world, *((600.0, said(1)) for _ in range(3)))
    assert world.measured.vitals["a"].messages == 1


@pytest.mark.parametrize("cpu", [math.nan, math.inf, -1.0, 1e300])
def test_impossible_measurements_are_left_out(cpu: float) -> None:
    world = World(silent_s=90.0)
    heard(world, (600.0, said(1, cpu=cpu, temperature=None)))
    (row,) = vitals_rows([world.measured.vitals["a"].vitals()])
    assert (row.cpu_ratio, row.temperature_c) == (None, None)
    assert row.rss_mb is not None


def test_the_last_five_minutes_of_a_silent_device_are_stored_too() -> None:
    world = World(silent_s=90.0)
    heard(world, (600.0, said(1)))
    assert reconcile(world, [], 600.0 + SPAN_S).vitals == ()
    ((device, row),) = reconcile(world, [], 600.0 + 2 * SPAN_S + SWEEP_S).vitals
    assert (device, row.messages) == ("a", 1)
    assert world.measured.vitals == {}


def test_a_repeated_row_is_stored_once_and_the_fuller_one_is_kept(store: VitalsStore) -> None:
    rows = [("a", flat(0.0, level=1.0, messages=5)), ("a", flat(0.0, level=9.0, messages=2))]
    for _ in range(2):
        store.keep(rows)
    assert store.series("a", 0.0) == [flat(0.0)]
    one, none = read_vitals(store.path, ["a", "b"], 0.0)
    assert (one.device, one.starts.tolist(), one.messages.tolist()) == ("a", [0.0], [5.0])
    assert one.figures.tolist() == [[[1.0] * 6, [1.0] * 6, [2.0] * 6]]
    assert none.figures.shape == (0, 3, 6)


def test_five_minutes_become_hours_and_hours_are_deleted(store: VitalsStore) -> None:
    names = [f"d{number:03}" for number in range(120)]
    store.keep((name, flat(start)) for name in names for start in (0.0, 300.0, HOUR_S))
    now = FINE_S + 2 * HOUR_S
    for _ in range(3):
        store.tend(now)
    for name in names:
        assert [(row.start, row.span_s, row.messages) for row in store.series(name, 0.0)] == [
            (0.0, HOUR_S, 10), (HOUR_S, HOUR_S, 5),
        ]  # fmt: skip
    for _ in range(3):
        store.tend(now + KEEP_S)
    assert store.series("d000", 0.0) == []


def test_a_file_over_its_limit_keeps_hours_for_less_time_and_always_a_day(tmp_path: Path) -> None:
    store = VitalsStore(tmp_path / "small.sqlite", max_mb=0)
    for day in range(1, 12):
        store.keep([("a", flat(day * 24 * HOUR_S + hour * HOUR_S)) for hour in range(24)])
        store.tend((day + 1) * 24 * HOUR_S)
    kept = store.series("a", 0.0)
    assert kept[-1].start - kept[0].start < 9 * 24 * HOUR_S
    assert sum(row.span_s == SPAN_S for row in kept) >= 24


def test_a_longer_period_has_means_by_messages_and_both_extremes() -> None:
    nothing = (math.nan,) * len(FIGURES)
    one = merged([flat(0.0, level=1.0, messages=1), flat(300.0, level=4.0, messages=2)], 0.0, HOUR_S)
    assert (one.means[0], one.lows[0], one.highs[0], one.messages) == (3.0, 1.0, 5.0, 3)
    empty = merged([Vitals(0.0, SPAN_S, 1, nothing, nothing, nothing)], 0.0, HOUR_S)
    assert math.isnan(empty.means[0])


def test_a_removed_device_leaves_no_row(store: VitalsStore) -> None:
    world = World(silent_s=90.0)
    heard(world, (600.0, said(1)), (900.0, said(2)))
    store.keep([("a", flat(0.0)), ("b", flat(0.0))])
    drop_twin(world, "a")
    store.drop("a")
    assert world.measured.vitals == {}
    assert (store.series("a", 0.0), len(store.series("b", 0.0))) == ([], 1)
