"""What devices say that is left out is counted and shown, and what heals is told no longer."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner
from msgspec.structs import replace

from contract import topics
from contract.captured import Captured, CapturedRow, LateLabel
from contract.errors import Code, WorldError
from contract.messages import Hardware, Heartbeat, ModelInterval, Telemetry, VersionRef
from contract.wire import encode
from controller.api.app import make_app
from controller.api.metrics import exposition
from controller.config import Config, StorageConfig
from controller.fleet.believable import MAX_PER_S
from controller.fleet.credit import FIRST_S, Credit, least_s
from controller.fleet.left_out import MAX_DEVICES, MAX_VERSIONS, OTHERS, TOLD_S, WELL_AFTER, LeftOut
from controller.fleet.vitals import OpenSpan, span_of
from controller.health import Finding, findings_of, is_failing
from controller.reconcile import decisions
from controller.rollout.model import Rollout
from controller.service import Service
from controller.state import State, open_state
from controller.verbs.health import facts_of
from edgeward.answers.data import RowsLeftOut
from edgeward.cli import data
from edgeward.cli.main import cli
from tests.controller.registry_worlds import version
from tests.controller.rollout_worlds import rollout

UNLUCKY = 13


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    made.registry.add(version())
    yield made
    made.close()


def captured(*rows: CapturedRow, seq: int = 1, **fields: Any) -> Captured:
    return Captured(protocol=1, device="cam-1", boot=1, seq=seq, rows=rows, **fields)


def row(release: int = 1, model: str = "m") -> CapturedRow:
    return CapturedRow(at=time.time(), model=model, release=release, why="hard", inputs={"a": 1.0}, value="1")


def telemetry(state: State, inferences: int = 5, *, device: str = "cam-1", seq: int = 1) -> Telemetry:
    digest = state.registry.version("m", 1).manifest.artifact.sha256
    counted = ModelInterval(
        model="m", version=VersionRef(release=1, digest=digest), inferences=inferences, errors=0
    )  # fmt: skip
    return Telemetry(protocol=1, device=device, boot=1, seq=seq, intervals=(counted,), interval_s=86_400.0)


def run_pass(state: State, *messages: Telemetry | Captured) -> None:
    for message in messages:
        topic = topics.telemetry if isinstance(message, Telemetry) else topics.captured
        assert state.inbox.put(topic(message.device), encode(message))
    asyncio.run(Service(state).one_pass())


def finding(state: State, code: str) -> Finding | None:
    found = findings_of(facts_of(state))
    return next((each for each in found if each.code == code), None)


def test_captured_rows_of_a_version_that_a_restored_registry_lacks_are_counted_and_shown(state: State) -> None:
    label = LateLabel(model="gone", id="x", label="1")
    run_pass(state, captured(row(), row(7), row(7), row(1, "gone"), labels=(label,)))
    left_out = state.world.measured.left_out
    assert left_out.rows == {("m", 7): 2, ("gone", 1): 1}
    assert (left_out.counts["rows_unregistered"], left_out.counts["labels_unregistered"]) == (3, 1)
    assert len(state.captures.rows_of("m")) == 1
    told = finding(state, "rows_left_out")
    assert told is not None
    assert told.detail.startswith("not kept from cam-1: captured rows of gone v1, which the registry does not have")
    assert not is_failing([told]), "one device alone must not make a monitor restart the controller"
    figures = exposition(state, facts_of(state)).decode()
    assert 'edgeward_controller_parts_left_out_total{reason="rows_unregistered"} 3' in figures

    async def asked() -> Any:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            return await (await client.get("/v1/data", headers={"Authorization": "Bearer edg_test"})).json()

    assert asyncio.run(asked())["left_out"] == [
        {"model": "gone", "release": 1, "rows": 1}, {"model": "m", "release": 7, "rows": 2},
    ]  # fmt: skip


def test_left_out_rows_make_an_event_and_are_told_for_an_hour(state: State) -> None:
    from controller.verbs.health import tell_changes

    told: list[Any] = []
    state.events.tell_health = told.append  # type: ignore[method-assign]
    before = tell_changes(state, ())
    run_pass(state, captured(row(7)))
    tell_changes(state, before)
    assert "rows_left_out" in [each.code for each in told[-1]]
    now = time.time()
    assert state.world.measured.left_out.rows_told(now)
    assert state.world.measured.left_out.rows_told(now + TOLD_S + 1) == {}


def test_invented_versions_and_devices_use_a_limited_amount_of_memory() -> None:
    left_out = LeftOut()
    for number in range(2 * MAX_DEVICES):
        left_out.note_row(f"d{number}", f"m{number}", 1, 0.0)
        left_out.note_unusable(f"d{number}", "Telemetry", ValueError("x" * 1000))
    assert len(left_out.rows) == MAX_VERSIONS + 1
    assert left_out.rows[OTHERS] == 2 * MAX_DEVICES - MAX_VERSIONS
    assert len(left_out.rows_told(0.0)) == len(left_out.unusable_told()) == MAX_DEVICES
    left_out.drop(f"d{2 * MAX_DEVICES - 1}")
    assert len(left_out.rows_told(0.0)) == len(left_out.unusable_told()) == MAX_DEVICES - 1


def test_a_device_whose_next_messages_are_used_counts_as_well_again(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(said: ModelInterval, *_: Any) -> str:
        assert said.inferences != UNLUCKY
        return ""

    monkeypatch.setattr("controller.reconcile.fold.why_impossible", broken)
    run_pass(state, telemetry(state, UNLUCKY, seq=1), telemetry(state, UNLUCKY, seq=2))
    told = finding(state, "messages_refused")
    assert told is not None
    assert "AssertionError" in told.detail
    assert "2 of this kind so far" in told.detail
    for seq in range(3, 3 + WELL_AFTER):
        assert finding(state, "messages_refused") is not None
        run_pass(state, telemetry(state, seq=seq))
    assert finding(state, "messages_refused") is None
    assert state.world.measured.left_out.counts["messages_unusable"] == 2, "the count stays"


def test_a_device_that_sends_good_and_bad_messages_in_turn_is_told_once() -> None:
    left_out = LeftOut()
    for _ in range(10):
        left_out.note_unusable("a", "Telemetry", ValueError("x"))
        left_out.note_used("a", "Telemetry")
        left_out.note_used("a", "Heartbeat")
        assert left_out.unusable_told()


def test_a_captured_batch_that_cannot_be_used_costs_itself(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(said: CapturedRow, names: Any) -> tuple[CapturedRow, tuple[str, ...]]:
        assert said.value != "broken"
        return said, ()

    monkeypatch.setattr("controller.reconcile.fold.without_invented_cells", broken)
    run_pass(state, captured(replace(row(), value="broken")), replace(captured(row()), device="cam-2"))
    assert [device for _, device, _ in state.captures.rows_of("m")] == ["cam-2"]
    assert "a Captured could not be used" in state.world.measured.left_out.unusable_told()["cam-1"]


@pytest.mark.parametrize("store", ["captures", "telemetry", "vitals", "journal"])
def test_what_no_store_can_hold_costs_its_own_device_and_no_pass_fails(
    state: State, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """A part of one device that a store refuses for another reason than the disk."""
    kept: list[str] = []
    name = {"journal": "record"}.get(store, "keep")
    real = getattr(getattr(state, store), name)

    def refuse(*parts: Any) -> None:
        named = repr(parts)
        if "cam-1" in named:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        kept.extend(["cam-2"] if "cam-2" in named else [])
        real(*parts)

    monkeypatch.setattr(getattr(state, store), name, refuse)
    both = ("cam-1", "cam-2")
    hardware = Hardware(machine="m", cpus=1, memory_mb=1, python="3", onnxruntime="1", agent="0")
    for device in both:
        beat = Heartbeat(protocol=1, device=device, boot=1, seq=9, uptime_s=1, hardware=hardware)
        assert state.inbox.put(topics.heartbeat(device), encode(beat))
    span = OpenSpan(span_of(time.time()))
    span.add(telemetry(state))
    state.world.measured.closed_vitals = [(device, span.vitals()) for device in both]
    rows = [replace(captured(row()), device=device) for device in both]
    run_pass(state, *rows, *(telemetry(state, device=device) for device in both))
    assert kept
    assert set(state.world.measured.left_out.unusable_told()) == {"cam-1"}
    assert "too large" in state.world.measured.left_out.unusable_told()["cam-1"]
    run_pass(state)


def test_a_full_disk_still_fails_the_pass_and_loses_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise WorldError(Code.DISK_FULL, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(state.captures, "keep", full)
        service = Service(state)
        assert state.inbox.put(topics.captured("cam-1"), encode(captured(row())))
        with pytest.raises(WorldError):
            asyncio.run(service.one_pass())
    service._passes._history.keep_captured = state.captures.keep  # type: ignore[method-assign]
    asyncio.run(service.one_pass())
    assert len(state.captures.rows_of("m")) == 1


def test_a_device_cannot_show_more_inferences_than_the_controllers_own_clock_allows(state: State) -> None:
    day = int(MAX_PER_S * 86_400)
    run_pass(state, *(telemetry(state, day, seq=seq) for seq in range(1, 9)), telemetry(state, device="cam-2"))
    assert ("cam-1", "m", 1) not in state.world.measured.totals, "it claims days, and seconds have passed"
    assert state.world.measured.totals["cam-2", "m", 1].inferences == 5
    assert state.world.measured.left_out.counts["counts_too_many"] == 8
    assert state.world.measured.faults["cam-1", "m", 1]["counts_too_many"] == (
        f"{8 * day} inferences were left out: no device can count so much in the time that has passed here"
    )
    run_pass(state, telemetry(state, seq=9))
    assert state.world.measured.totals["cam-1", "m", 1].inferences == 5, "what is possible counts"


def test_credit_grows_with_the_controllers_clock_and_a_night_without_a_link_fits_in_it() -> None:
    credit: Credit | None = Credit(1000.0)
    for _ in range(120):  # a hundred inferences a second in 120 intervals of a day, which arrive at once
        assert credit is not None
        counted = ModelInterval(model="m", version=VersionRef(release=1, digest=""), inferences=8_640_000, errors=0)
        credit = credit.then(1000.0).spend(least_s(counted))
    assert credit is not None
    assert credit.left_s == pytest.approx(FIRST_S - 120 * 8.64)
    assert credit.spend(FIRST_S) is None
    assert credit.then(10.0).left_s == credit.left_s, "a clock that was set back adds nothing"
    assert credit.then(1000.0 + 100.0).left_s == pytest.approx(credit.left_s + 100.0)
    assert credit.then(1e9).left_s == FIRST_S


def test_data_list_says_which_rows_were_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [RowsLeftOut(model="m", release=7, rows=2), RowsLeftOut(model="", release=0, rows=9)]
    client = SimpleNamespace(data_sets=list, rows_left_out=lambda: rows)
    monkeypatch.setattr(data, "Client", lambda: client)
    said = CliRunner().invoke(cli, ["data", "list"]).output
    assert "not kept: 2 captured rows of m v7, which the registry does not have" in said
    assert "not kept: 9 captured rows of other versions, which the registry does not have" in said
    assert "not kept" not in CliRunner().invoke(cli, ["data", "list", "--csv"]).output


def test_a_rollout_that_cannot_be_decided_stops_no_other_and_health_names_it(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decisions.decide

    def broken(asked: Rollout, *others: Any) -> Any:
        if asked.id == "r-1":
            raise OverflowError("cannot convert float infinity to integer")
        return real(asked, *others)

    for name in ("r-1", "r-2"):
        state.world.durable.rollouts[name] = replace(rollout(), id=name, model=name, began_at=time.time())
    monkeypatch.setattr(decisions, "decide", broken)
    run_pass(state)
    assert set(state.world.measured.verdicts) == {"r-2"}
    told = finding(state, "steps_fail")
    assert told is not None
    assert told.detail.startswith(
        "rollout r-1 fails after every pass, and is tried again: OverflowError: cannot convert"
    )
    monkeypatch.undo()
    run_pass(state)
    assert finding(state, "steps_fail") is None
