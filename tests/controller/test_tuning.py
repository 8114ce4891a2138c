"""A remote configuration for a device: durable, in its signed document, with a growing version, shown
with its state.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.messages import ConfigState, Heartbeat, ModelState, SensorState
from controller.config import Config, StorageConfig
from controller.health import findings_of, is_failing
from controller.state import State, open_state
from controller.verbs.health import facts_of
from edgeward.answers.devices import Device
from edgeward.cli.device_tune import config_words
from tests.controller.heard import hear
from tests.controller.registry_worlds import version
from tests.controller.test_api import HARDWARE, call, deeds_of_people, meet
from tests.edgeward.test_answers import device_json


def open_at(path: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(path))))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_at(tmp_path)
    meet(made, "a", "b")
    made.registry.add(version())
    yield made
    made.close()


def tune(state: State, *devices: str, **config: Any) -> tuple[int, Any]:
    return call(state, "POST", "/v1/devices/tune", json={"devices": devices, "config": {"version": 1, **config}})


def signed_config(state: State, device: str = "a") -> Any:
    if not state.world.durable.twins[device].document_version:
        return None
    document = json.loads(state.publisher.desired(state.world.durable.twins[device]).payload)
    return document["signed"]["x-edge"].get("config")


def test_a_configuration_is_in_the_signed_document_and_its_version_grows(state: State) -> None:
    assert signed_config(state) is None
    assert tune(state, "a", heartbeat_s=5)[1][0]["code"] == ""
    first = signed_config(state)
    assert first["heartbeat_s"] == 5
    document_version = state.world.durable.twins["a"].document_version
    assert tune(state, "a", heartbeat_s=6, capture={"m": {"rate": "0.5"}})[0] == 200
    assert signed_config(state)["version"] > first["version"]
    assert state.world.durable.twins["a"].document_version > document_version
    assert signed_config(state)["capture"] == {"m": {"rate": "0.5", "below_confidence": "0"}}
    assert deeds_of_people(state)[0] == "device tune"
    assert state.world.caches.reordered == {"a"}
    hear(state)
    assert state.world.caches.reordered == set(), "a pass has published it"


def test_a_configuration_survives_a_restart_and_has_a_higher_version_than_the_device_has_seen(tmp_path: Path) -> None:
    made = open_at(tmp_path)
    meet(made, "a")
    said = ConfigState(confirmed=9_000_000_000)
    hear(made, Heartbeat(protocol=1, device="a", boot=1, seq=2, uptime_s=1, hardware=HARDWARE, config=said))
    tune(made, "a", heartbeat_s=5)
    before = signed_config(made)
    assert before["version"] == 9_000_000_001
    made.close()
    again = open_at(tmp_path)
    assert signed_config(again) == before
    again.close()


@pytest.mark.parametrize(
    "config",
    [{"heartbeat_s": 0}, {"heartbeat_s": 0.5}, {"capture": {"m": {"rate": "1.5"}}}, {"max_connections": 0},
     {"sensor": "x"}, {"capture": {"m": {"rate": "NaN"}}}],
)  # fmt: skip
def test_a_configuration_that_no_device_could_apply_is_refused_at_once(state: State, config: dict[str, Any]) -> None:
    status, body = tune(state, "a", **config)
    assert (status, body["code"], signed_config(state)) == (422, "message_malformed", None)


def test_one_unknown_device_does_not_stop_the_configuration_of_others(state: State) -> None:
    assert [each["code"] for each in tune(state, "gone", "b", heartbeat_s=5)[1]] == ["unknown_device", ""]
    assert signed_config(state, "b")["heartbeat_s"] == 5


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "has not reported about it yet"),
        ({"confirmed": 3}, "has not reported about it yet"),
        ({"confirmed": 7}, "a heartbeat every 5 s: confirmed"),
        ({"trial": 7}, "on trial"),
        ({"refused": 7, "code": "config_taken_back", "detail": "the server has ended"}, "taken back: config_taken"),
    ],
)
def test_the_state_of_a_configuration_on_a_device_is_described_in_words(said: Any, words: str) -> None:
    found = Device.read(device_json(config={"version": 7, "heartbeat_s": 5}, config_said=said))
    assert words in config_words(found)


def test_each_part_of_a_configuration_is_described_in_words() -> None:
    config = {
        "version": 7, "telemetry_s": 30, "paused_sensors": ["serial-1", "csv-2"], "max_connections": 3,
        "capture": {"rain": {"rate": "0.5", "below_confidence": "0.6"}, "sun": {"rate": "1", "below_confidence": "0"}},
        "max_body_bytes": 2_000_000,
    }  # fmt: skip
    found = Device.read(device_json(config=config, config_said={"confirmed": 7}))
    assert config_words(found) == (
        "measurements every 30 s, paused: serial-1 and csv-2, "
        "50% of the rows of rain kept, and all below a confidence of 0.6, 100% of the rows of sun kept, "
        "at most 3 connections of local programs, requests of at most 2.0 MB: confirmed"
    )


def test_a_heartbeat_interval_longer_than_the_silence_limit_is_refused(state: State) -> None:
    status, refused = tune(state, "a", heartbeat_s=60)
    assert (status, refused["code"]) == (422, "config_invalid")
    assert refused["detail"].endswith("(fleet.silent_s), and one heartbeat may be lost: at most 45 s")
    assert tune(state, "a", heartbeat_s=45)[0] == 200


def refuses(state: State, seq: int, version: int) -> None:
    said = ConfigState(refused=version, code="config_taken_back", detail="the server has ended")
    hear(state, Heartbeat(protocol=1, device="a", boot=1, seq=seq, uptime_s=1, hardware=HARDWARE, config=said))


def test_a_refused_configuration_is_in_list_health_and_event_until_another_one_is_sent(
    state: State,
) -> None:
    tune(state, "a", heartbeat_s=5)
    refuses(state, 2, signed_config(state)["version"])
    words = f"configuration {signed_config(state)['version']} was refused: config_taken_back: the server has ended"
    listed = {each["device"]: each for each in call(state, "GET", "/v1/devices")[1]["devices"]}
    assert listed["a"]["faults"] == [{"code": "config_taken_back", "detail": words}]
    assert listed["b"]["faults"] == []
    finding = next(each for each in findings_of(facts_of(state)) if each.code == "config_refused")
    assert finding.detail == f"a: {words}. Send another one: edgeward device tune a"
    assert not is_failing((finding,)), "a device's fault is not the controller's"
    tune(state, "a", heartbeat_s=6)
    assert "config_refused" not in {each.code for each in findings_of(facts_of(state))}


def test_unknown_names_of_a_device_are_refused_with_the_known_ones(state: State) -> None:
    sensor = SensorState(name="serial-1", kind="serial", model="m", state="running")
    hear(
        state,
        Heartbeat(
            protocol=1, device="a", boot=1, seq=2, uptime_s=1, hardware=HARDWARE, sensors=(sensor,),
            models=(ModelState(model="m", phase="steady", generation=0),),
        ),
    )  # fmt: skip
    for config, words in (
        ({"paused_sensors": ["serial-9"]}, "a has no sensor 'serial-9'; there are: serial-1"),
        ({"capture": {"n": {"rate": "0.1"}}}, "there is no model 'n'; there are: m"),
    ):
        told = {each["device"]: each for each in tune(state, "a", "b", **config)[1]}
        assert (told["a"]["code"], told["a"]["detail"]) == ("config_invalid", words)
        assert told["b"]["code"] == "config_invalid"
    assert tune(state, "a", paused_sensors=["serial-1"], capture={"m": {"rate": "0.1"}})[1][0]["code"] == ""
