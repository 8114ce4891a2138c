"""Devices are found by a search, in an order and by pages, each with its health in one word and the reason."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contract.desired import TrialPolicy
from contract.messages import (
    ModelInterval,
    ModelState,
    Progress,
    Report,
    SensorState,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from controller.config import Config, StorageConfig
from controller.fleet.device_health import HEALTH_WORDS, HOT_C, judge, judge_told
from controller.fleet.device_query import DeviceQuery
from controller.fleet.roster import Moment, Roster
from controller.fleet.traffic import Traffic
from controller.fleet.twin import Assigned, PresenceWord, Twin
from controller.reconcile.roster import fresh_roster, moment
from controller.rollout.endings import Ending
from controller.state import State, open_state
from tests.controller.heard import hear
from tests.controller.test_api import call, meet

NOW = 1_000_000.0
V1, V2 = VersionRef(release=1, digest="1" * 64), VersionRef(release=2, digest="2" * 64)
MOMENT = Moment(NOW, silent_s=90.0)


def running(version: VersionRef = V1, model: str = "m", **fields: Any) -> ModelState:
    return ModelState(model=model, phase="steady", generation=1, stable=version, serving=version.digest, **fields)


def ended(result: Any, code: str) -> UpdateOutcome:
    return UpdateOutcome(generation=1, version=V2, result=result, code=code, detail="71 % against 82 %")


def twin(name: str, *states: ModelState, ago_s: float = 1.0, connected: bool = True, **fields: Any) -> Twin:
    reported = {state.model: state for state in states}
    return Twin(name, reported=reported, seen_at=NOW - ago_s, connected=connected, **fields)


def roster(*twins: Twin) -> Roster:
    made = Roster()
    for each in twins:
        made.put(each, None, {}, NOW)
    return made


FLEET = roster(
    twin("cam-1", running(V1), labels={"site": "a"}),
    twin("cam-2", running(V2), labels={"site": "b"}, ago_s=600.0),
    twin("cam-3", running(V1, outcome=ended("rolled_back", "health_accuracy")), labels={"site": "a"}),
    twin("pump-1", running(V2, model="other"), labels={"site": "a", "gateway": "g7"}, connected=False, ago_s=50.0),
    twin("pump-2", faults={"disk_full": "no space"}),
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "cam-1 cam-2 cam-3 pump-1 pump-2"),
        ({"presence": frozenset({"silent"})}, "cam-2"),
        ({"presence": frozenset({"silent", "offline"})}, "cam-2 pump-1"),
        ({"health": frozenset({"failing"})}, "cam-3"),
        ({"health": frozenset({"attention"})}, "pump-2"),
        ({"labels": {"site": "a"}}, "cam-1 cam-3 pump-1"),
        ({"labels": {"site": "a", "gateway": "g7"}}, "pump-1"),
        ({"model": "m"}, "cam-1 cam-2 cam-3"),
        ({"release": 2}, "cam-2 pump-1"),
        ({"model": "m", "release": 2}, "cam-2"),
        ({"code": "disk_full"}, "pump-2"),
        ({"code": "health_accuracy"}, "cam-3"),
        ({"text": "pump"}, "pump-1 pump-2"),
        ({"text": "site=b"}, "cam-2"),
        ({"text": "disk_"}, "pump-2"),
        ({"text": "nothing"}, ""),
        ({"order": "health"}, "cam-3 pump-2 cam-2 pump-1 cam-1"),
        ({"order": "device", "descending": True}, "pump-2 pump-1 cam-3 cam-2 cam-1"),
        ({"order": "seen"}, "cam-2 pump-1 cam-1 cam-3 pump-2"),
        ({"order": "label.site"}, "cam-1 cam-3 pump-1 cam-2 pump-2"),
        ({"order": "version"}, "pump-2 cam-1 cam-3 cam-2 pump-1"),
    ],
)  # fmt: skip
def test_a_query_finds_the_devices_that_match_all_of_it_in_its_order(asked: dict[str, Any], found: str) -> None:
    assert FLEET.find(DeviceQuery(**asked), MOMENT).devices == found.split()


@pytest.mark.parametrize("order", ["device", "health", "seen", "label.site"])
def test_all_pages_together_are_the_whole_list_in_order_and_each_has_the_total(order: str) -> None:
    whole = FLEET.find(DeviceQuery(order=order), MOMENT).devices
    pages = [FLEET.find(DeviceQuery(order=order, limit=2, offset=offset), MOMENT) for offset in (0, 2, 4, 6)]
    assert [name for page in pages for name in page.devices] == whole
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("connected", [True, False])
def test_health_changes_with_time_without_a_message_of_the_device(connected: bool) -> None:
    made = roster(twin("a", running(), connected=connected))
    later = Moment(NOW + 91, 90.0)
    assert [made.health("a", each)[0] for each in (MOMENT, later)] == (
        ["well", "silent"] if connected else ["offline", "offline"]
    )


def policy(**fields: Any) -> dict[str, Assigned]:
    return {"m": Assigned(release=1, generation=1, rollout="r", policy=TrialPolicy(**fields))}


def measured(errors: int, inferences: int = 100, temperature_c: float = 40.0) -> Telemetry:
    interval = ModelInterval(model="m", version=V1, inferences=inferences, errors=errors)
    return Telemetry(1, "a", 1, 1, 60.0, (interval,), temperature_c=temperature_c)


BROKEN = SensorState(name="serial-1", kind="serial", model="m", state="waiting", error="no such port")
FETCHING = ModelState(model="m", phase="fetching", generation=2, stable=V1, target=V2, progress=Progress(1, 2))


@pytest.mark.parametrize(
    ("known", "newest", "word", "why"),
    [
        (twin("a", running()), None, "well", "answers"),
        (twin("a", running(outcome=ended("rolled_back", "health_accuracy"))), None, "failing", "m v2 was rolled back"),
        (twin("a", running(outcome=ended("rejected", "probe_failed"))), None, "failing", "m v2 was rejected"),
        (twin("a", running(outcome=ended("confirmed", ""))), None, "well", ""),
        (twin("a", running(outcome=ended("rolled_back", "superseded"))), None, "well", ""),
        (twin("a", running(), desired=policy()), measured(3), "failing", "3 of 100 inferences failed, 2.0% are"),
        (twin("a", running(), desired=policy()), measured(2), "well", ""),
        (twin("a", running(), desired=policy(max_error_ratio=Decimal("0.5"))), measured(30), "well", ""),
        (twin("a", running(), desired=policy()), measured(10, inferences=20), "well", ""),
        (twin("a", running()), measured(0, temperature_c=HOT_C), "attention", "hot: 80 degrees"),
        (twin("a", running(), sensors=(BROKEN,)), None, "attention", "serial-1: no such port"),
        (twin("a", FETCHING), None, "updating", "fetching v2"),
        (twin("a", running(code="update_held", detail="busy")), None, "attention", "update_held busy"),
        (twin("a", running(code="outside_maintenance")), None, "well", ""),
        (twin("a", running(), desired={"m": Assigned(2, 9, "r")}), None, "updating", "not acted on v2"),
    ],
)  # fmt: skip
def test_health_is_the_worst_current_state_with_its_reason(
    known: Twin, newest: Telemetry | None, word: str, why: str
) -> None:
    found = judge_told(known, known.faults, None if newest is None else Traffic.begin(newest, NOW))
    assert found[0] == word
    assert why in found[1]


def test_right_answers_of_the_serving_version_end_the_failure_of_another_version() -> None:
    told = running(outcome=ended("rolled_back", "health_accuracy"))
    back, still_asked = ({"m": Assigned(release, 1, "r")} for release in (1, 2))
    bad = Telemetry(1, "a", 1, 1, 60.0, (ModelInterval(model="m", version=V2, inferences=50, errors=50),))
    quiet = Telemetry(1, "a", 1, 3, 60.0)

    def judged(desired: dict[str, Assigned], *messages: Telemetry) -> tuple[str, str]:
        traffic = Traffic.begin(messages[0], NOW)
        for number, message in enumerate(messages[1:], 1):
            traffic = traffic.then(message, NOW + 60 * number)
        return judge_told(twin("a", told, desired=desired), {}, traffic)

    assert judged(back, bad)[0] == "failing"
    assert judged(back, bad, measured(20)) == (
        "failing", "m v2 was rolled back: health_accuracy 71 % against 82 %; v1 has not answered well since"
    )  # fmt: skip
    assert judged(back, bad, measured(0), quiet)[0] == "well", "a quiet minute forgets no answer"
    assert judged(still_asked, bad, measured(0)) == (
        "attention", "m v2 was rolled back: health_accuracy 71 % against 82 %; v1 answers in its place"
    )  # fmt: skip


@pytest.mark.parametrize("presence", ["online", "offline", "silent", "unknown"])
@pytest.mark.parametrize("told", ["failing", "attention", "updating", "well"])
@pytest.mark.parametrize("alert", ["", "accuracy fell"])
def test_the_worst_state_overrides_presence_and_alerts(presence: PresenceWord, told: Any, alert: str) -> None:
    absent = {"offline": "offline", "silent": "silent", "unknown": "silent"}
    words = {told, *(["attention"] if alert else []), *([absent[presence]] if presence in absent else [])}
    found, why = judge((told, "x"), presence, alert)
    assert found == next(word for word in HEALTH_WORDS if word in words)
    assert why


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def names(answer: tuple[int, Any]) -> list[str]:
    status, page = answer
    assert status == 200, page
    return [each["device"] for each in page["devices"]]


def test_the_api_returns_a_page_with_total_health_and_reason(state: State) -> None:
    meet(state, *(f"d{number}" for number in range(5)), labels={"site": "a"})
    status, page = call(state, "GET", "/v1/devices?label=site=a&limit=2&offset=1&sort=-device&presence=online,silent")
    assert (status, page["total"], names((status, page))) == (200, 5, ["d3", "d2"])
    assert [(each["health"], bool(each["why"])) for each in page["devices"]] == [("well", True)] * 2
    _, shown = call(state, "GET", "/v1/devices/d1")
    assert (shown["health"], shown["presence"]) == ("well", "online")


@pytest.mark.parametrize(
    "query",
    ["presence=gone", "health=fine", "label=site", "sort=colour", "limit=0", "limit=1001", "limit=x", "colour=red",
     "version=x", "sort=label.", "q=" + "x" * 300],
)  # fmt: skip
def test_an_invalid_query_is_refused_with_the_valid_values(state: State, query: str) -> None:
    status, body = call(state, "GET", f"/v1/devices?{query}")
    assert (status, body["code"]) == (422, "request_invalid")


def test_the_index_is_updated_when_devices_are_added_changed_and_removed(state: State) -> None:
    from controller.reconcile.world import drop_twin

    meet(state, "a", "b", labels={"site": "x"})
    assert names(call(state, "GET", "/v1/devices?label=site=x")) == ["a", "b"]
    world, now = state.world, time.time()
    drop_twin(world, "a")
    world.withdrawn = {("m", 1): "wrong column"}  # type: ignore[dict-item]  # the registry's own view elsewhere
    world.alerts = {"b": "accuracy fell"}
    assert names(call(state, "GET", "/v1/devices")) == ["b"]
    assert fresh_roster(world, now).health("b", moment(world, now)) == ("attention", "accuracy fell")
    assert fresh_roster(world, now).counts(moment(world, now)) == {"attention": 1}


def test_a_killed_controller_finds_reports_sent_after_the_last_heartbeat(tmp_path: Path) -> None:
    first = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    meet(first, "a")
    hear(
        first,
        Report(protocol=1, device="a", boot=1, seq=2, state=running(V2, outcome=ended("rejected", "probe_failed"))),
    )
    hear(first, Report(protocol=1, device="a", boot=1, seq=3, state=running(V1)))
    first.close()
    again = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    assert again.world.durable.twins["a"].reported["m"].stable == V1
    assert call(again, "GET", "/v1/devices/a")[1]["presence"] == "unknown", "a report of before says nothing about now"
    again.close()


def test_devices_are_found_by_a_quarantine_and_by_the_code_of_its_failure(state: State) -> None:
    first, second = "a", "b"
    meet(state, first, second, "c")
    durable = state.world.durable
    durable.quarantine[first] = {V2.digest: "r-gone"}
    durable.quarantine[second] = {V2.digest: "r-1"}
    durable.endings["r-1"] = {second: Ending("failed", "health_latency", "p95 118 ms")}

    def found(query: str) -> list[str]:
        return [each["device"] for each in call(state, "GET", f"/v1/devices?{query}")[1]["devices"]]

    assert found("quarantined=true") == [first, second]
    assert found("code=health_latency&quarantined=true") == [second]
    assert len(found("quarantined=false")) == len(durable.twins)
    assert call(state, "GET", "/v1/devices?quarantined=yes")[1]["code"] == "request_invalid"
    shown = call(state, "GET", f"/v1/devices/{first}")[1]["quarantined"]
    assert shown == [f"version {V2.digest[:12]}"], "its rollout is not kept any more"
