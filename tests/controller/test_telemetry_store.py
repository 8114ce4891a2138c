"""The store of telemetry: each message once, rows that age, devices that are taken out, kills and full disks."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import WorldError
from contract.messages import ModelInterval, Telemetry, VersionRef
from controller.reconcile.decisions import reconcile
from controller.reconcile.measured import HISTORY_S, open_marks, rows_of
from controller.reconcile.world import World, drop_twin
from controller.rollout.analysis import judge_all
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.telemetry.counts import Counted, decoded, encoded
from controller.telemetry.store import DAY_S, HOUR_S, KEEP_HOURS_S, TelemetryStore

DEVICES = [f"d{number}" for number in range(8)]
RULE = Rule(metric="accuracy_drop", threshold=0.02, min_samples=10)


def interval(correct: int, release: int = 1, labelled: int = 100) -> ModelInterval:
    version = VersionRef(release=release, digest="a" * 64)
    return ModelInterval(
        model="m",
        version=version,
        inferences=labelled,
        errors=0,
        labelled=labelled,
        correct=correct,
        latency_counts=(0, 9),
    )


def counted(device: str, seq: int, at: float, said: ModelInterval) -> Counted:
    return Counted(device, 1, seq, at, said)


def total(store: TelemetryStore) -> float:
    return sum(sums.inferences for _, _, _, sums in store.past("m", 0.0))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = TelemetryStore(tmp_path / "telemetry.sqlite")
    yield made
    made.close()


def test_counts_are_read_back_unchanged() -> None:
    sums = Sums(inferences=3, labelled=2, correct=1, latency_counts=(0, 3), refused={"row_invalid": 2}, label_sum=-1.5)
    assert decoded(encoded(sums)) == sums


def test_a_repeated_message_is_stored_once_and_still_recognised_after_merging(store: TelemetryStore) -> None:
    once = [counted("a", seq, 60.0 * seq, interval(90)) for seq in range(1, 4)]
    store.keep(once)
    store.keep(once[:2])
    assert total(store) == 300
    store.tend(DAY_S)
    assert [(device, start) for device, _, start, _ in store.past("m", 0.0)] == [("a", 0.0)]
    heard = store.heard()["a"]
    assert [heard.then(1, seq)[1] for seq in (1, 3, 4)] == [False, False, True]


def test_late_labels_are_stored_in_the_minute_of_their_answers(store: TelemetryStore) -> None:
    said = [counted("d0", 1, 7200.0, interval(50)), counted("d0", 1, 7200.0 - 3 * 60, interval(7, labelled=10))]
    for _ in range(2):
        store.keep(said)
    found = sorted((start, sums.correct) for _, _, start, sums in store.past("m", 0.0))
    assert found == [(7020.0, 7), (7200.0, 50)]


def test_minutes_become_hours_and_hours_days_and_no_count_is_lost_until_days_are_deleted(store: TelemetryStore) -> None:
    store.keep([counted(device, seq, 600.0 * seq, interval(50)) for device in DEVICES for seq in range(1, 145)])
    now = DAY_S + 2 * HOUR_S
    while store.models() and any(start % HOUR_S for _, _, start, _ in store.past("m", 0.0) if start < now - 3 * HOUR_S):
        store.tend(now)
    assert total(store) == 8 * 144 * 100
    later = now + KEEP_HOURS_S + DAY_S
    store.tend(later)
    assert {start for _, _, start, _ in store.past("m", 0.0)} == {0.0, DAY_S}
    assert total(store) == 8 * 144 * 100
    store.tend(later + 401 * DAY_S)
    assert total(store) == 0


def test_no_hour_spans_the_start_of_an_open_rollout(store: TelemetryStore) -> None:
    store.keep([counted("a", seq, 60.0 * seq, interval(50)) for seq in range(60)])
    store.tend(DAY_S, marks=(1800.0,))
    rows = {start: sums.inferences for _, _, start, sums in store.past("m", 0.0)}
    assert rows == {0.0: 3000, 1800.0: 3000}


def test_a_file_over_its_limit_drops_its_oldest_rows(tmp_path: Path) -> None:
    store = TelemetryStore(tmp_path / "small.sqlite", max_mb=0)
    store.keep([counted("a", seq, HOUR_S * seq, interval(50)) for seq in range(1, 41)])
    store.tend(60 * HOUR_S)
    assert 0 < len(list(store.past("m", 0.0))) < 40
    assert (store.oldest() or 0) > HOUR_S


def campaign(began_at: float = 7200.0) -> Rollout:
    members = tuple(Member(device=device, wave=0 if number < 2 else 1) for number, device in enumerate(DEVICES))
    strategy = Strategy(name="s", waves=(Wave(percent=25), Wave(percent=100)), rules=(RULE,))
    return Rollout(
        id="r", model="m", release=2, digest="", strategy=strategy, members=members, began_at=began_at, status="running"
    )


def hear(  # noqa: PLR0917  # who says what, when
    world: World, store: TelemetryStore, device: str, seq: int, at: float, said: ModelInterval
) -> None:
    message = Telemetry(protocol=1, device=device, boot=1, seq=seq, interval_s=60.0, intervals=(said,))
    store.keep(reconcile(world, [(device, message)], at).measured)


def one_world(store: TelemetryStore, *rollouts: Rollout) -> World:
    world = World(silent_s=600.0, past=store.past)
    world.measured.heard = store.heard()
    world.durable.rollouts.update({rollout.id: rollout for rollout in rollouts})
    return world


def verdicts(world: World, now: float) -> Any:
    outcomes = dict.fromkeys(DEVICES, "succeeded")
    rollout = world.durable.rollouts["r"]
    return judge_all(rollout, rows_of(world, rollout), outcomes, now)  # type: ignore[arg-type]


def fill(world: World, store: TelemetryStore, right: dict[str, int], *, hours: int = 4) -> None:
    for minute in range(0, hours * 60, 20):
        for number, (device, correct) in enumerate(right.items()):
            release = 2 if device in ("d0", "d1") and minute * 60 >= 7200 else 1
            hear(world, store, device, minute + 1, minute * 60.0 + number, interval(correct, release))


def test_a_restarted_controller_gives_the_same_verdict_with_the_same_evidence(store: TelemetryStore) -> None:
    right = {device: 80 + number for number, device in enumerate(DEVICES)}
    before = one_world(store, campaign())
    fill(before, store, right)
    said = verdicts(before, 4 * HOUR_S)
    assert said[0].figures is not None
    assert said[0].figures.devices == 2
    again = one_world(store, campaign())
    assert _close(verdicts(again, 4 * HOUR_S), said)
    store.tend(DAY_S, open_marks(again))
    rolled_up = verdicts(one_world(store, campaign()), 4 * HOUR_S)[0]
    assert (rolled_up.word, rolled_up.figures.samples) == (said[0].word, said[0].figures.samples)
    hear(again, store, "d0", 1, 5 * HOUR_S, interval(0, 2))
    assert _close(verdicts(again, 4 * HOUR_S), said), "an old message that comes again after the start changes nothing"
    assert again.measured.left_out.counts["telemetry_repeated"] == 1


def test_the_versions_of_the_last_two_days_are_read_and_no_older_ones(store: TelemetryStore) -> None:
    late = campaign(began_at=10 * DAY_S)
    for seq, at in enumerate((7.9 * DAY_S, 8.1 * DAY_S, 10.1 * DAY_S), start=1):
        store.keep([counted("d3", seq, at, interval(50))])
    world = one_world(store, late)
    assert rows_of(world, late).table().start.tolist() == [8.1 * DAY_S // 60 * 60, 10.1 * DAY_S // 60 * 60]
    assert HISTORY_S == 2 * DAY_S


@settings(max_examples=12, deadline=None)
@given(right=st.dictionaries(st.sampled_from(DEVICES), st.integers(0, 100), min_size=5), gone=st.sampled_from(DEVICES))
def test_the_verdict_without_a_revoked_device_equals_that_of_a_fleet_that_never_had_it(
    right: dict[str, int], gone: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("stores")
    mine, theirs = TelemetryStore(path / "mine.sqlite"), TelemetryStore(path / "theirs.sqlite")
    with_it, without = one_world(mine, campaign()), one_world(theirs, campaign())
    fill(with_it, mine, right, hours=3)
    fill(without, theirs, {device: correct for device, correct in right.items() if device != gone}, hours=3)
    drop_twin(with_it, gone)
    mine.drop(gone)
    expected = verdicts(without, 3 * HOUR_S)
    assert _close(verdicts(with_it, 3 * HOUR_S), expected)
    assert _close(verdicts(one_world(mine, campaign()), 3 * HOUR_S), expected), "and after a start too"
    mine.close()
    theirs.close()


def _close(ours: Any, theirs: Any) -> bool:
    """Equal words and samples, and numbers that differ only by the order in which floats were added."""
    for one, other in zip(ours, theirs, strict=True):
        assert (one.word, one.figures is None) == (other.word, other.figures is None)
        if one.figures is not None:
            for name in one.figures.__struct_fields__:
                mine, expected = getattr(one.figures, name), getattr(other.figures, name)
                assert mine == expected if isinstance(mine, str) else mine == pytest.approx(expected, abs=1e-9)
    return True


def test_a_full_disk_is_reported_and_stored_data_is_intact(store: TelemetryStore) -> None:
    store.keep([counted("a", 1, 0.0, interval(90))])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [counted("a", seq, 0.0, interval(90)) for seq in range(2, 3000)]
    with pytest.raises(WorldError, match="intact"):
        store.keep(many)
    assert total(store) == 100
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.keep(many)
    assert total(store) == 100 * 2999


KILLED = """
import sys
from pathlib import Path
from tests.controller.test_telemetry_store import counted, interval
from controller.telemetry.store import TelemetryStore
store = TelemetryStore(Path(sys.argv[1]))
first = int(sys.argv[2])
for seq in range(first, first + 100_000):
    store.keep([counted("a", seq, 60.0 * seq, interval(90))])
    store.tend(60.0 * seq)
    print(seq, flush=True)
"""


def test_a_killed_controller_has_lost_no_acknowledged_data(tmp_path: Path) -> None:
    path, first = tmp_path / "telemetry.sqlite", 1
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(first)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.15)
        os.kill(child.pid, signal.SIGKILL)
        said = child.stdout.read().split()
        child.wait()
        last = int(said[-1]) if said else first
        store = TelemetryStore(path)
        kept = total(store) / 100
        assert last <= kept <= last + 1
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.heard()["a"].then(1, last)[1] is False
        first = int(kept) + 1
        store.close()
