"""A device with a wrong clock, a refused document or a full disk is seen in the list by a code, while it lasts."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from contract.messages import Heartbeat, ModelState, Refusal, Report
from contract.protocol import MAX_FAULTS
from contract.wire import encode
from controller.api.fleet_view import fleet_view
from controller.config import Config, StorageConfig
from controller.fleet.device_clock import STRETCH_S
from controller.fleet.faults import CLOCK_OFF_S, faults_of
from controller.fleet.twin import Twin, fold_heartbeat, fold_report
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import Durable, World
from controller.state import State, open_state
from edgeward.answers.devices import Device, DevicePage
from edgeward.answers.table import Table
from edgeward.cli import device_list, render
from edgeward.cli.main import cli
from firmware_sim.durable import DurableTables
from tests.controller.heard import hear
from tests.controller.test_api import HARDWARE, call

NOW = 1_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def beat(seq: int = 1, **fields: Any) -> Heartbeat:
    return Heartbeat(protocol=1, device="a", boot=1, seq=seq, uptime_s=1, hardware=HARDWARE, **fields)


def codes(twin: Twin) -> list[str]:
    return sorted(faults_of(twin, {}, NOW))


@pytest.mark.parametrize("ahead_s", [CLOCK_OFF_S + 1, 86_400 * 365 * 70])
def test_a_clock_ahead_is_a_fault_at_the_first_heartbeat(ahead_s: float) -> None:
    twin = fold_heartbeat(Twin("a"), beat(at=int(NOW + ahead_s)), NOW)
    assert codes(twin) == ["clock_wrong"]
    assert "ahead of the controller's" in faults_of(twin, {}, NOW)["clock_wrong"]


def test_a_clock_with_a_small_difference_is_no_fault() -> None:
    assert codes(fold_heartbeat(Twin("a"), beat(at=int(NOW + CLOCK_OFF_S)), NOW)) == []
    assert codes(fold_heartbeat(Twin("a"), beat(at=0), NOW)) == [], "an agent that does not say"


def test_a_slow_clock_is_a_fault_once_two_heartbeats_show_a_constant_difference() -> None:
    slow = fold_heartbeat(Twin("a"), beat(1, at=int(NOW) - 86_400 * 3), NOW)
    assert codes(slow) == [], "it may have waited in the broker"
    slow = fold_heartbeat(slow, beat(2, at=int(NOW) - 86_400 * 3 + 30), NOW + 30)
    assert faults_of(slow, {}, NOW) == {"clock_wrong": "its clock is 3 days behind the controller's"}
    right = fold_heartbeat(slow, beat(3, at=int(NOW) + 60), NOW + 60)
    assert codes(right) == []


def test_heartbeats_that_waited_for_the_controller_or_on_a_stick_are_no_slow_clock() -> None:
    twin = Twin("a")
    for seq, said in enumerate(range(0, 300, 30), start=1):
        twin = fold_heartbeat(twin, beat(seq, at=int(NOW) - 7200 + said), NOW)
        assert codes(twin) == []
    next_stick = fold_heartbeat(twin, beat(11, at=int(NOW) - 7200 + 330), NOW + 900)
    assert codes(next_stick) == []


def test_a_right_clock_on_a_link_with_growing_delay_is_not_a_fault() -> None:
    twin = Twin("a")
    for seq in range(1, 121):
        said_s, came_s = 5 * seq, 8 * seq
        twin = fold_heartbeat(twin, beat(seq, at=int(NOW) + said_s), NOW + came_s)
        assert codes(twin) == [], f"{came_s - said_s} s late"


def test_a_clock_set_back_while_the_agent_runs_is_found_within_two_heartbeats() -> None:
    twin, seen_s = Twin("a"), 0
    for seq in range(1, 100):
        off_s = 0 if seq < 10 else -3600
        twin = fold_heartbeat(twin, beat(seq, at=int(NOW) + 30 * seq + off_s), NOW + 30 * seq)
        seen_s = seen_s or (30 * (seq - 10) if codes(twin) else 0)
    assert STRETCH_S < seen_s <= 2 * STRETCH_S


def test_an_earlier_start_of_the_agent_does_not_change_the_verdict_on_the_clock() -> None:
    right = fold_heartbeat(Twin("a"), beat(1, at=int(NOW)), NOW)
    again = fold_heartbeat(right, replace(beat(1, at=int(NOW) - 7200), boot=2), NOW + 60)
    again = fold_heartbeat(again, replace(beat(2, at=int(NOW) - 7170), boot=2), NOW + 90)
    assert faults_of(again, {}, NOW) == {"clock_wrong": "its clock is 2 hours behind the controller's"}


def test_a_fault_reported_by_a_device_is_shown_until_the_device_reports_its_end() -> None:
    full = fold_heartbeat(Twin("a"), beat(1, faults={"disk_full": "no space", "signature_invalid": "trust"}), NOW)
    assert codes(full) == ["disk_full", "signature_invalid"]
    assert codes(fold_heartbeat(full, beat(2), NOW)) == []


def test_a_refusal_is_shown_at_once_and_the_next_heartbeat_confirms_or_ends_it() -> None:
    refused = Report(protocol=1, device="a", boot=1, seq=2, refusal=Refusal(code="desired_expired", detail="d"))
    twin = fold_report(fold_heartbeat(Twin("a"), beat(1), NOW), refused, NOW)
    assert faults_of(twin, {}, NOW) == {"desired_expired": "d"}
    assert codes(fold_heartbeat(twin, beat(3), NOW)) == []


def test_invented_codes_of_a_device_use_no_memory() -> None:
    twin = Twin("a")
    for seq in range(1, 200):
        refusal = Refusal(code=f"c{seq}")
        twin = fold_report(twin, Report(protocol=1, device="a", boot=1, seq=seq, refusal=refusal), NOW)
    assert len(twin.faults) == MAX_FAULTS


def test_a_model_that_waits_for_a_disk_is_a_fault_of_the_device() -> None:
    stuck = ModelState(model="m", phase="fetching", generation=1, code="disk_full", detail="9 MB wanted")
    assert faults_of(fold_heartbeat(Twin("a"), beat(models=(stuck,)), NOW), {}, NOW) == {"disk_full": "m: 9 MB wanted"}


def test_a_restarted_controller_shows_faults_of_the_last_heartbeats_and_judges_no_clock_by_them() -> None:
    words = {"a": encode(beat(at=1, faults={"disk_full": "d"}))}
    twin = FleetRecords(DurableTables()).load_world(words, 90.0).durable.twins["a"]
    assert (twin.faults, twin.clock_off_s, twin.clock) == ({"disk_full": "d"}, 0.0, None)


def test_faults_are_in_the_device_lists_of_api_client_and_command(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(state, beat(at=int(time.time()) + 3600, faults={"disk_full": "no space"}))
    hear(state, replace(beat(), device="b"))
    _, page = call(state, "GET", "/v1/devices")
    devices = page["devices"]
    assert [[each["code"] for each in device["faults"]] for device in devices] == [["clock_wrong", "disk_full"], []]
    found = Table(map(Device.read, devices))
    assert [row["faults"] for device in found for row in device.table_rows()] == ["clock_wrong disk_full", ""]

    class Answers:
        def device_pages(self, *_: object) -> list[DevicePage]:
            return [DevicePage(total=2, devices=tuple(found))]

    monkeypatch.setattr(device_list, "Client", Answers)
    monkeypatch.setattr(render.console, "_width", 200)
    said = CliRunner().invoke(cli, ["device", "list", "--wide"]).output
    assert "faults" in said
    assert "clock_wrong disk_full" in said


def test_the_page_of_the_fleet_counts_devices_by_fault() -> None:
    twins = {name: Twin(name, faults={"disk_full": "d"}) for name in ("a", "b")} | {
        "c": fold_heartbeat(Twin("c"), beat(at=int(NOW + 9e9)), NOW)
    }
    assert fleet_view(World(silent_s=90.0, durable=Durable(twins)), NOW).faults == {"clock_wrong": 1, "disk_full": 2}
