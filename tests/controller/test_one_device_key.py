"""Somebody with the key of one device costs that device and no more: one test for each way that was found."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract import topics
from contract.bounds import LAST_MOMENT, MAX_INTERVAL_S
from contract.captured import Captured, CapturedRow
from contract.errors import BadInput
from contract.labels import LARGEST
from contract.messages import Heartbeat, ModelInterval, ModelState, Telemetry, VersionRef
from contract.said import decode_said
from contract.wire import encode
from controller.api.app import make_app
from controller.api.fleet_view import fleet_view
from controller.config import Config, StorageConfig
from controller.fleet.believable import MAX_PER_S
from controller.fleet.heard import MAX_BOOTS, MAX_OVER, Heard
from controller.reconcile.decisions import reconcile
from controller.reconcile.world import World
from controller.registry import data_sets as stored_data_sets
from controller.rollout.facts import Sums
from controller.rollout.label_weight import most_labels, with_most_labels
from controller.service import Service
from controller.state import State, open_state
from controller.telemetry.counts import MAX_STORED, Counted, decoded, encoded
from controller.telemetry.store import TelemetryStore
from controller.verbs import data_sets
from controller.verbs.data_sets import RowsWanted
from controller.verbs.labels import MAX_LOOKED_AT, labels_wanted
from tests.controller.registry_worlds import version
from tests.controller.test_bad_input_of_one_device import HARDWARE

BIG = 2**53


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    made.registry.add(version(classes=("0", "1")))
    yield made
    made.close()


def interval(state: State | None = None, **fields: Any) -> ModelInterval:
    digest = "1" * 64 if state is None else state.registry.version("m", 1).manifest.artifact.sha256
    known = {"inferences": 5, "errors": 0} | fields
    return ModelInterval(model="m", version=VersionRef(release=1, digest=digest), **known)


def telemetry(*intervals: ModelInterval, device: str = "liar", boot: int = 1, **fields: Any) -> Telemetry:
    return Telemetry(
        protocol=1, device=device, boot=boot, seq=1, intervals=intervals, **({"interval_s": 30.0} | fields)
    )


def row(**changes: Any) -> CapturedRow:
    made = CapturedRow(at=time.time(), model="m", release=1, why="hard", inputs={"a": 1.0}, value="1", id="i", key="k")
    return replace(made, **changes)


def batch(*rows: CapturedRow, device: str = "liar", seq: int = 1) -> Captured:
    return Captured(protocol=1, device=device, boot=1, seq=seq, rows=rows)


def run_pass(state: State, *messages: Telemetry | Captured) -> None:
    for message in messages:
        topic = topics.telemetry if isinstance(message, Telemetry) else topics.captured
        assert state.inbox.put(topic(message.device), encode(message))
    asyncio.run(Service(state).one_pass())


def made(state: State, **wanted: Any) -> Any:
    return asyncio.run(data_sets.make(state, "rows", RowsWanted("m", **wanted), actor="ada"))[0]


def test_columns_that_a_device_invents_are_not_kept_and_it_is_told(state: State) -> None:
    cells = {f"c{number}": 1.0 for number in range(400)}
    run_pass(state, batch(row(inputs=cells | {"a": 1.0}), row(release=7), row(model="made-up")))
    assert [each.inputs for _, _, each in state.captures.rows_of("m")] == [{"a": 1.0}]
    assert state.world.measured.faults["liar", "m", 1]["names_invented"].startswith("400 counts or cells were left out")
    assert set(made(state).columns) == {*stored_data_sets.ABOUT, "a"}


def test_a_data_set_has_a_limit_of_columns_and_says_what_to_do(state: State) -> None:
    wide = {f"c{number}": 1.0 for number in range(400)}
    rows = [replace(row(), inputs={f"{at}{name}": cell for name, cell in wide.items()}) for at in range(3)]
    state.captures.keep([("liar", batch(*rows))])  # as an earlier version kept them
    with pytest.raises(BadInput, match=r"limits are 1024 columns.*--since.*--remove"):
        made(state)


def test_data_sets_are_made_and_compared_beside_the_loop(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state.captures.keep([("a", batch(row(), row(inputs={"a": 2.0}, label="x"), device="a"))])
    read, loops = stored_data_sets.DataSets.column, []

    def watched(*asked: Any) -> Any:
        with pytest.raises(RuntimeError):
            loops.append(asyncio.get_running_loop())
        return read(*asked)

    monkeypatch.setattr(stored_data_sets.DataSets, "column", watched)
    made(state)
    found = asyncio.run(data_sets.compare(state, "rows@1", "rows@1"))
    assert (found.added, found.labels, found.means, loops) == (0, {"x": (1, 1)}, {}, [])


def test_a_row_replaces_no_column_about_its_inference(state: State) -> None:
    forged = {"_id": 7.0, "_at": "x", "_device": "b", "_label": "9", "_key": "other", "a": 1.0}
    state.captures.keep([("liar", batch(row(inputs=forged, label="1")))])
    (first,) = state.data_sets.rows_of(made(state))
    assert (first["_id"], first["_device"], first["_label"], first["_key"]) == (1, "liar", "1", "k")
    assert isinstance(first["_at"], float)


def test_counts_that_no_store_can_hold_are_stored_as_the_largest_and_age_with_the_rest(tmp_path: Path) -> None:
    store = TelemetryStore(tmp_path / "telemetry.sqlite")
    lies = [
        Counted("liar", 1, seq, 1000.0, interval(inferences=BIG, latency_counts=(BIG,), predictions={"0": BIG}))
        for seq in range(2100)
    ]
    store.keep([*lies, Counted("a", 1, 1, 1000.0, interval())])
    for later_s in (3 * 3600.0, 40 * 86_400.0):
        store.tend(later_s)
    found = {device: sums.inferences for device, _, _, sums in store.past("m", 0.0)}
    assert found == {"a": 5, "liar": MAX_STORED}
    assert decoded(encoded(Sums(refused={"x": 2**70}))).refused == {"x": MAX_STORED}
    store.close()


def test_a_step_that_fails_stops_no_other_and_health_names_it(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(state.telemetry, "tend", broken)
    looked: list[float] = []
    monkeypatch.setattr("controller.service.retraining.look", lambda _state, now: looked.append(now))
    run_pass(state)
    assert looked
    assert state.steps.failures == {"roll_up": 1}
    assert state.steps.told(time.monotonic()) == {}, "one fault may be over at the next try"
    assert state.steps.told(time.monotonic() + 60.0) == {"roll_up": "OverflowError: too large"}
    monkeypatch.undo()
    run_pass(state)
    assert state.steps.failing == {}


def test_a_message_that_cannot_be_folded_costs_itself(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = "controller.reconcile.fold.why_impossible"

    def broken(said: ModelInterval, *_: Any) -> str:
        assert said.inferences != 13, "unlucky"
        return ""

    monkeypatch.setattr(fold, broken)
    run_pass(state, telemetry(interval(state, inferences=13)), telemetry(interval(state), device="a"))
    assert set(state.world.measured.totals) == {("a", "m", 1)}
    assert "a Telemetry could not be used" in state.world.measured.left_out.unusable_told()["liar"]


def test_sums_whose_squares_are_infinite_leave_every_view_as_it_is(state: State) -> None:
    assert Sums(measured=9, label_sum=1e200, squared_label_sum=1e300).r2 is None
    far = {
        "labelled": 10**7, "measured": 10**7, "absolute_error_sum": LARGEST, "squared_error_sum": LARGEST**2,
        "label_sum": LARGEST, "squared_label_sum": LARGEST**2,
    }  # fmt: skip
    state.registry.add(version(2, task="regression"))
    digest = state.registry.version("m", 2).manifest.artifact.sha256
    said = replace(interval(inferences=10**7, **far), version=VersionRef(release=2, digest=digest))
    run_pass(state, telemetry(said))

    async def status(path: str) -> int:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            return (await client.get(path, headers={"Authorization": "Bearer edg_test"})).status

    assert state.world.measured.totals["liar", "m", 2].measured == 10**7
    for path in ("/v1/fleet", "/v1/devices", "/v1/devices/liar"):
        assert asyncio.run(status(path)) == 200, path


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        (Telemetry, ("interval_s",), MAX_INTERVAL_S * 2), (Telemetry, ("interval_s",), -1.0),
        (Telemetry, ("rss_mb",), 1.7e308), (Telemetry, ("cpu_ratio",), -1.7e308), (Telemetry, ("temperature_c",), 1e9),
        (Telemetry, ("intervals", 0, "version", "release"), 2**64 - 1),
        (Telemetry, ("intervals", 0, "squared_label_sum"), 1e300), (Telemetry, ("intervals", 0, "age_s"), 1e12),
        (Heartbeat, ("at",), LAST_MOMENT + 1), (Heartbeat, ("expiries", "x"), BIG),
        (Captured, ("rows", 0, "at"), 1e300), (Captured, ("rows", 0, "at"), -1.0),
        (Captured, ("rows", 0, "confidence"), 1.5), (Captured, ("rows", 0, "inputs", "a"), 2**64 - 1),
    ],
)  # fmt: skip
def test_a_number_out_of_its_range_is_dropped_alone_and_counted(kind: Any, path: tuple[Any, ...], value: Any) -> None:
    beat = Heartbeat(protocol=1, device="a", boot=1, seq=1, uptime_s=1, hardware=HARDWARE, expiries={"x": 1, "y": 2})
    whole = {Telemetry: telemetry(interval(), interval()), Heartbeat: beat, Captured: batch(row(), row())}[kind]
    plain = json.loads(encode(whole))
    there = plain
    for step in path[:-1]:
        there = there[step]
    there[path[-1]] = value
    message, dropped = decode_said(json.dumps(plain).encode(), kind)
    assert dropped == 1
    assert message.seq == 1
    parts = {Telemetry: lambda: message.intervals, Captured: lambda: message.rows, Heartbeat: lambda: (1, 2)}[kind]()
    assert len(parts) == (1 if path[-1] == "release" or path == ("rows", 0, "at") else 2)


def test_what_an_honest_device_sends_after_days_without_a_link_is_all_taken(state: State) -> None:
    """An interval of a day, as configured; labels a month late; the largest label; a certificate without an end."""
    late = interval(state, inferences=0, labelled=9, correct=9, age_s=30 * 86_400.0)
    run_pass(state, telemetry(interval(state, inferences=10**8, rows=10**9), late, interval_s=86_400.0))
    found = state.world.measured.totals["liar", "m", 1]
    assert (found.inferences, found.labelled) == (10**8, 9)
    assert ("liar", "m", 1) not in state.world.measured.faults
    sums = {"absolute_error_sum": 3 * LARGEST, "squared_error_sum": 3 * LARGEST**2, "label_sum": -LARGEST}
    said = telemetry(interval(labelled=3, measured=3, squared_label_sum=LARGEST**2, **sums))
    assert decode_said(encode(said), Telemetry) == (said, 0)


def test_no_device_counts_more_than_one_can_by_a_long_interval_or_by_many_entries() -> None:
    world = World(silent_s=90.0)
    many = interval(inferences=int(20 * MAX_PER_S))
    reconcile(world, [("liar", telemetry(many, many, many))], 1.0)
    assert world.measured.totals["liar", "m", 1].inferences == many.inferences
    assert "more than 1000000 inferences a second" in world.measured.faults["liar", "m", 1]["counts_impossible"]


@pytest.mark.parametrize(
    "lie", [{"measured": 5}, {"latency_counts": (6,)}, {"predictions": {"0": 10**12}}, {"refused": {"x": BIG}}]
)
def test_the_task_and_the_size_of_a_version_bound_what_is_counted_of_it(state: State, lie: dict[str, Any]) -> None:
    honest = telemetry(interval(state, labelled=5, correct=4), device="a")
    run_pass(state, honest, telemetry(interval(state, labelled=5, **lie)))
    for sums in state.world.measured.totals.values():
        assert (sums.measured, sums.latency_counts, sums.refused) == (0, (), {})
    assert ("liar", "m", 1) in state.world.measured.faults
    assert ("a", "m", 1) not in state.world.measured.faults


def test_a_replayed_start_never_counts_again_whatever_came_since(tmp_path: Path) -> None:
    heard, is_new = Heard().then(7, 1)
    assert is_new
    for boot in range(100, 100 + 3 * MAX_BOOTS):
        heard, _ = heard.then(boot, 1)
    assert heard.then(7, 1) == (heard, False)
    assert heard.then(7, 2) == (heard, False), "its numbers are over, too"
    for boot in range(1000, 1000 + MAX_OVER + MAX_BOOTS):
        heard, _ = heard.then(boot, 1)
    assert len(heard.over) == MAX_OVER
    store = TelemetryStore(tmp_path / "telemetry.sqlite")
    store.keep([Counted("a", boot, 1, 60.0 * boot, interval()) for boot in range(1, 40)])
    store.tend(3 * 3600.0)
    assert not store.heard()["a"].then(1, 1)[1], "also after a restart"
    store.close()


def test_one_devices_labels_do_not_drown_those_of_the_fleet() -> None:
    world = World(silent_s=90.0)
    said = [(f"d{n}", telemetry(interval(labelled=5, correct=4), device=f"d{n}")) for n in range(300)]
    lies = interval(inferences=20_000_000, labelled=20_000_000, correct=0)
    reconcile(world, [*said, ("liar", telemetry(lies))], 1.0)
    assert most_labels([5] * 300) == 500
    assert with_most_labels(Sums(labelled=1000, correct=500), 100.0) == Sums(
        labelled=100, correct=50, absolute_error_sum=0.0, squared_error_sum=0.0, label_sum=0.0, squared_label_sum=0.0
    )
    assert most_labels([1, 10**9]) == float("inf"), "of two devices neither is the odd one"
    digest = "1" * 64
    serving = ModelState(
        model="m", phase="steady", generation=0, stable=VersionRef(release=1, digest=digest), serving=digest
    )
    beat = Heartbeat(protocol=1, device="d1", boot=1, seq=9, uptime_s=1, hardware=HARDWARE, models=(serving,))
    reconcile(world, [("d1", beat)], 2.0)
    (view,) = fleet_view(world, 3.0).serving
    assert view.accuracy is not None
    assert view.accuracy > 0.5


def test_rows_of_one_device_hide_no_others_from_people_who_label(state: State) -> None:
    now = time.time()
    state.captures.keep([("quiet", batch(*(row(at=now - 60 - n, id=f"q{n}") for n in range(8)), device="quiet"))])
    ahead = tuple(row(at=now + 10**6) for _ in range(256))
    state.captures.keep(("liar", batch(*ahead, seq=seq)) for seq in range(1, MAX_LOOKED_AT // 256 + 2))
    assert {each.device for each in labels_wanted(state, "m", now).rows} == {"quiet"}


def test_an_answer_is_not_found_by_a_name_that_another_device_has_given_its_own(state: State) -> None:
    state.captures.keep([("a", batch(row(id="x"), device="a")), ("liar", batch(row(id="x")))])
    with pytest.raises(BadInput, match="liar and a both have an answer 'x': name the row by its id, 2 or 1"):
        state.captures.find("m", "x")
    found = state.captures.find("m", "1")
    assert found is not None
    assert found[1] == "a"
