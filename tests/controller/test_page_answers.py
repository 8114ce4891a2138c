"""Answers for the page: cells of the whole fleet, changes, the check of the audit, a day of a device, the stream."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract.messages import Presence, Report, UpdateOutcome
from controller.api.app import make_app
from controller.api.live import LIVE, MAX_WAITING, topic_of
from controller.api.rollout_views import serving_release
from controller.config import Config, StorageConfig
from controller.fleet.cells import MAX_CELLS, MAX_GROUPS, fleet_cells
from controller.fleet.glance import look
from controller.fleet.steps import at_once
from controller.reconcile.decisions import reconcile
from controller.reconcile.roster import fresh_roster, moment
from controller.reconcile.world import World
from controller.state import State, open_state
from controller.verbs.changes import change_of, recent_changes, undone_by_devices
from tests.controller.page_worlds import MODEL, ROLLOUT, SECOND, STAR, fill, heartbeat, steady, version

LOCAL = "edg_local"
COUNT = 60
Script = Callable[[TestClient], Awaitable[Any]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path_factory.mktemp("controller")))))
    fill(made, time.time(), COUNT)
    yield made
    made.close()


def talk(state: State, script: Script) -> Any:
    async def run() -> Any:
        headers = {"Authorization": f"Bearer {LOCAL}"}
        async with TestClient(TestServer(make_app(state, LOCAL)), headers=headers) as client:
            return await script(client)

    return asyncio.run(run())


def ask(state: State, path: str) -> Any:
    async def script(client: TestClient) -> Any:
        answer = await client.get(path)
        return await answer.json()

    return talk(state, script)


def small_world(devices: dict[str, dict[str, str]]) -> World:
    world = World(silent_s=90.0)
    inbox = [
        (name, replace(heartbeat(name, 1, (steady(MODEL, 1 + number % 2),)), labels=labels))
        for number, (name, labels) in enumerate(devices.items())
    ]
    reconcile(world, inbox, 1000.0)
    return world


def cells_of(world: World, now: float = 1000.0, **asked: str) -> Any:
    seen = at_once(look(world.durable.twins, fresh_roster(world, now), moment(world, now)))
    return at_once(fleet_cells(world.durable.twins, seen, serving_release, **asked))


def test_every_device_is_one_cell_of_its_site_with_name_health_presence_and_version(state: State) -> None:
    found = ask(state, "/v1/fleet/cells")
    assert (found["by"], found["devices"], found["per_cell"], found["model"]) == ("site", COUNT, 1, MODEL)
    assert sum(group["devices"] for group in found["groups"]) == COUNT
    aldern = next(group for group in found["groups"] if group["name"] == "aldern")
    place = aldern["names"].index(STAR)
    assert (aldern["health"][place], aldern["presence"][place], aldern["ill"]) == ("f", "o", 1)
    assert found["versions"][int(aldern["version"][place], 36)] == 12
    for group in found["groups"]:
        assert len(group["health"]) == len(group["presence"]) == len(group["version"]) == len(group["names"])


def test_cells_are_grouped_by_the_requested_label_and_model(state: State) -> None:
    found = ask(state, f"/v1/fleet/cells?by=gateway&model={SECOND}")
    assert [group["name"] for group in found["groups"]] == ["gw-1", "gw-2", "gw-3", "gw-4"]
    assert (found["model"], found["versions"]) == (SECOND, [5])
    assert "." in "".join(group["version"] for group in found["groups"]), "some devices do not run it"


def test_devices_without_a_dividing_label_are_grouped_by_their_kind() -> None:
    found = cells_of(small_world({"a": {}, "b": {"serial": "1"}, "c": {"serial": "2"}}))
    assert found.by == "stratum"
    assert found.labels == (), "a label that every device has for itself divides nothing"


def test_too_many_devices_to_show_share_cells_with_the_worst_health_of_their_devices() -> None:
    world = small_world({f"d{number:05}": {"site": f"s{number % 3}"} for number in range(2 * MAX_CELLS + 1)})
    gone = [(f"d{number:05}", Presence(protocol=1, device=f"d{number:05}", online=False)) for number in (0, 3)]
    reconcile(world, gone, 1001.0)
    found = cells_of(world, 1001.0)
    assert found.per_cell == 3
    assert sum(len(group.health) for group in found.groups) <= MAX_CELLS
    assert found.groups[0].health.startswith("ow"), "the two that are gone share the first cell"
    assert found.groups[0].names == ()


def test_the_smallest_of_many_groups_are_shown_as_one() -> None:
    world = small_world({f"d{number:03}": {"site": f"s{number // 2:03}"} for number in range(2 * MAX_GROUPS + 6)})
    found = cells_of(world)
    assert len(found.groups) == MAX_GROUPS + 1
    assert (found.groups[-1].name, found.groups[-1].devices) == ("other", 6)


def test_a_device_has_changed_if_its_health_has_and_not_by_a_heartbeat_alone() -> None:
    world = small_world({"a": {}, "b": {}})

    def seen(now: float) -> Any:
        return at_once(look(world.durable.twins, fresh_roster(world, now), moment(world, now)))

    first = seen(1000.0)
    reconcile(world, [("a", replace(heartbeat("a", 1, (steady(MODEL, 1),)), seq=2))], 1001.0)
    again = seen(1001.0)
    assert again.changed_since(first) == []
    assert seen(1089.0).changed_since(again) == []
    assert seen(1090.5).changed_since(again) == ["b"], "only b has been silent for so long"
    assert first.changed_since(None) == []


def test_changes_are_listed_in_sentences_with_their_actor_and_newest_first(state: State) -> None:
    found = recent_changes(state, 24.0)
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    texts = [each.text for each in found]
    assert f"jonas approved {ROLLOUT}" in texts
    assert "lena lifted the quarantine of greyling-088" in texts
    assert f"{STAR} rolled {MODEL} v13 back by itself: health_latency" in texts
    assert "2 devices enrolled, dunmore-013 last" in texts
    assert len(recent_changes(state, 1.0)) == 1
    assert ask(state, "/v1/changes?hours=1")[0]["subject"] == ROLLOUT


def test_a_device_that_an_operator_rolled_back_is_not_shown_as_rolled_back_by_itself() -> None:
    def told(device: str, code: str) -> tuple[str, str, str]:
        ended = UpdateOutcome(generation=2, version=version(13), result="rolled_back", code=code)
        report = Report(protocol=1, device=device, boot=1, seq=1, state=steady(MODEL, 12, outcome=ended))
        return "2026-11-27T08:00:00+00:00", device, json.dumps(msgspec.to_builtins(report))

    (only,) = undone_by_devices([told("a", "health_latency"), told("b", "superseded"), told("c", "pinned")])
    assert only.text == f"a rolled {MODEL} v13 back by itself: health_latency"
    (without_a_code,) = undone_by_devices([told("a", "")])
    assert without_a_code.text == f"a rolled {MODEL} v13 back by itself"


def test_an_action_without_a_sentence_is_shown_as_in_the_audit() -> None:
    entry = {"at": "t", "actor": "ada", "action": "kettle boil", "subject": "kitchen", "detail": "tea"}
    told = change_of(entry)
    assert told is not None
    assert told.text == "ada: kettle boil kitchen: tea"
    assert change_of({**entry, "action": "trust sign"}) is None


def test_the_audit_is_verified_on_the_controller_and_a_changed_entry_is_found(state: State) -> None:
    async def script(client: TestClient) -> list[Any]:
        whole = await (await client.get("/v1/audit/check")).json()
        state.journal._db.execute("DROP TRIGGER audit_is_append_only")
        state.journal._db.execute("UPDATE audit SET actor = 'nobody' WHERE id = 2")
        state.journal.audit("2026-01-01T00:00:00+00:00", "ada", "kettle boil", "kitchen")
        broken = await (await client.get("/v1/audit/check")).json()
        state.journal._db.execute("UPDATE audit SET actor = 'dunmore-013' WHERE id = 2")
        return [whole, broken]

    whole, broken = talk(state, script)
    assert whole["faults"] == []
    assert whole["entries"] + 1 == broken["entries"]
    assert broken["faults"][0].startswith("entry 2 was changed")


def test_entries_are_found_by_any_of_their_words(state: State) -> None:
    for words in ("JONAS", "rollout approve", ROLLOUT, "7be19c"):
        found = ask(state, f"/v1/audit?q={words}")
        assert "rollout approve" in [entry["action"] for entry in found]
    assert ask(state, "/v1/audit?q=nobody-at-all") == []


def test_why_has_the_same_content_as_sentences_and_as_items_with_kind_and_rollout(state: State) -> None:
    found = ask(state, f"/v1/devices/{STAR}/why")
    kinds = [item["kind"] for item in found["items"]]
    assert kinds == ["fetching", "probing", "trial", "rolled_back", "steady", "steady", "asked", "quarantined"]
    asked = found["items"][6]
    assert asked["rollout"] == ROLLOUT
    assert found["sentences"][6] == asked["text"].replace("it was", f"at {asked['at']} it was", 1)
    assert found["sentences"][0] == f"{found['items'][0]['at']}: {found['items'][0]['text']}"


def test_a_day_of_a_device_is_shown_by_hours_and_by_ten_minutes_with_gaps(state: State) -> None:
    found = ask(state, f"/v1/devices/{STAR}/models/{MODEL}/telemetry")
    spans = [row["span_s"] for row in found]
    assert spans == sorted(spans, reverse=True)
    assert set(spans) == {3600.0, 600.0}
    starts = [row["start"] for row in found]
    assert starts == sorted(starts)
    assert max(after - before for before, after in pairwise(starts)) >= 2 * 3600
    assert sum(row["labelled"] for row in found) == 132 * 120

    async def nobody(client: TestClient) -> int:
        return (await client.get(f"/v1/devices/nobody/models/{MODEL}/telemetry")).status

    assert talk(state, nobody) == 404


def test_vitals_of_a_device_are_shown_by_five_minutes_with_gaps(state: State) -> None:
    found = ask(state, f"/v1/devices/{STAR}/vitals?hours=24")
    assert {row["span_s"] for row in found} == {300.0}
    assert len(found) in (264, 265), "the rows of a day, and the five minutes that are not over"
    assert max(after["start"] - before["start"] for before, after in pairwise(found)) >= 2 * 3600
    hot = max(found, key=lambda row: row["temperature_c"]["mean"])
    assert (hot["cpu_ratio"]["mean"], hot["cpu_ratio"]["low"], hot["cpu_ratio"]["high"]) == (1.0, 0.96, 1.05)
    assert len(ask(state, f"/v1/devices/{STAR}/vitals?hours=1")) <= 14

    async def refusals(client: TestClient) -> list[int]:
        asked = ("nobody/vitals", *(f"{STAR}/vitals?hours={hours}" for hours in ("0", "-1", "841", "nan", "x")))
        return [(await client.get(f"/v1/devices/{each}")).status for each in asked]

    assert talk(state, refusals) == [404, *[422] * 5]


def test_a_reader_gets_the_state_of_the_fleet_at_once_and_then_the_changes(state: State) -> None:
    async def script(client: TestClient) -> list[Any]:
        stream = await client.get("/v1/live")

        async def message() -> Any:
            async with asyncio.timeout(10):
                while not (line := await stream.content.readline()).startswith(b"data: "):
                    pass
            return json.loads(line.removeprefix(b"data: "))

        first = await message()
        gone = Presence(protocol=1, device="holm-001", online=False)
        reconcile(state.world, [("holm-001", gone)], time.time())
        second = await message()
        while not second["changed"]:
            second = await message()
        return [first, second]

    first, second = talk(state, script)
    assert (first["devices"], first["topics"], first["changed"]) == (COUNT, [], 0)
    assert second["topics"] == ["fleet"]
    assert "holm-001" in second["names"], "beside it stand devices that the rollout has asked meanwhile"
    assert second["health"]["offline"] == first["health"].get("offline", 0) + 1


def test_a_reader_that_does_not_read_is_disconnected(state: State) -> None:
    async def script(client: TestClient) -> bool:
        assert client.app is not None
        live = client.app[LIVE]
        reader = await live.join()
        for _ in range(MAX_WAITING + 1):
            live._presence = {}
            await live._tell([])
        return reader.lost

    assert talk(state, script)


def test_events_become_topics_that_a_page_loads_again() -> None:
    assert topic_of("dev.edgeward.rollout.completed") == topic_of("dev.edgeward.verdict.fail") == "rollouts"
    assert topic_of("dev.edgeward.alert.firing") == "alerts"
    assert topic_of("dev.edgeward.health.failing") == topic_of("anything") == "fleet"
