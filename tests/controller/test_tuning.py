"""A remote configuration for a device: durable, in its signed document, with a growing version, shown
with its state.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.messages import ConfigState, Heartbeat
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from edgeward.answers.devices import Device
from edgeward.cli.device_tune import config_words
from tests.controller.heard import hear
from tests.controller.test_api import HARDWARE, call, deeds_of_people, meet
from tests.edgeward.test_answers import device_json


def open_at(path: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(path))))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_at(tmp_path)
    meet(made, "a", "b")
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


def test_a_configuration_survives_the_controller_and_is_ahead_of_what_the_device_has_seen(tmp_path: Path) -> None:
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
def test_what_no_device_could_take_is_refused_at_once(state: State, config: dict[str, Any]) -> None:
    status, body = tune(state, "a", **config)
    assert (status, body["code"], signed_config(state)) == (422, "message_malformed", None)


def test_one_unknown_device_costs_no_other_its_configuration(state: State) -> None:
    assert [each["code"] for each in tune(state, "gone", "b", heartbeat_s=5)[1]] == ["unknown_device", ""]
    assert signed_config(state, "b")["heartbeat_s"] == 5


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "has not said anything"),
        ({"confirmed": 3}, "has not said anything"),
        ({"confirmed": 7}, "heartbeat_s 5: confirmed"),
        ({"trial": 7}, "on trial"),
        ({"refused": 7, "code": "config_taken_back", "detail": "the server has ended"}, "taken back: config_taken"),
    ],
)
def test_how_a_device_stands_with_it_is_said_in_words(said: Any, words: str) -> None:
    found = Device.read(device_json(config={"version": 7, "heartbeat_s": 5}, config_said=said))
    assert words in config_words(found)


def test_heartbeats_so_far_apart_that_the_device_would_count_as_silent_are_refused(state: State) -> None:
    status, refused = tune(state, "a", heartbeat_s=60)
    assert (status, refused["code"]) == (422, "config_invalid")
    assert refused["detail"].endswith("(fleet.silent_s), and one heartbeat may be lost: at most 45 s")
    assert tune(state, "a", heartbeat_s=45)[0] == 200
