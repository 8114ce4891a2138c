"""Labels, notes and selectors that people write: they replace the device's own, are durable, and rollouts use them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contract.errors import BadInput
from contract.messages import Heartbeat
from contract.protocol import MAX_LABELS
from controller.config import Config, StorageConfig
from controller.fleet.selection import select
from controller.state import State, open_state
from controller.verbs import device_labels as verbs
from edgeward.answers.claims import DeviceAnswer
from edgeward.answers.devices import DevicePage
from edgeward.answers.table import Table
from edgeward.cli import device_labels, selection
from edgeward.cli.device_labels import read_changes, read_label_table
from edgeward.cli.main import cli
from tests.controller.heard import hear
from tests.controller.test_api import HARDWARE, call, deeds_of_people, meet


def open_at(path: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(path))))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_at(tmp_path)
    yield made
    made.close()


def label(state: State, **changes: dict[str, str | None]) -> list[Any]:
    status, answers = call(state, "POST", "/v1/devices/label", json={"devices": changes})
    assert status == 200, answers
    return [each["code"] for each in answers]


def labels(state: State, device: str = "a") -> dict[str, str]:
    return state.world.durable.twins[device].labels


def test_a_given_label_replaces_the_devices_own_until_it_is_removed(state: State) -> None:
    meet(state, "a", labels={"site": "north", "gateway": "g1"})
    assert label(state, a={"site": "south", "rack": "7"}) == [""]
    assert labels(state) == {"site": "south", "gateway": "g1", "rack": "7"}
    assert select(state.world.durable.twins.values(), {"site": "south"}) == ["a"]
    head = {"protocol": 1, "boot": 1, "seq": 2, "uptime_s": 1, "hardware": HARDWARE}
    hear(state, Heartbeat(device="a", labels={"site": "east"}, **head))
    assert labels(state) == {"site": "south", "rack": "7"}, "also after the device has said something else"
    assert label(state, a={"site": None}) == [""]
    assert labels(state) == {"site": "east", "rack": "7"}
    assert "device label" in deeds_of_people(state)


def test_given_labels_and_notes_survive_a_restart(tmp_path: Path) -> None:
    state = open_at(tmp_path)
    meet(state, "a", labels={"site": "north"})
    label(state, a={"site": "south"})
    status, body = call(state, "PUT", "/v1/devices/a/note", json={"text": "its fan is loud"})
    assert (status, body["note"]["text"]) == (200, "its fan is loud")
    state.close()
    again = open_at(tmp_path)
    _, shown = call(again, "GET", "/v1/devices/a")
    assert (shown["labels"], shown["given_labels"]) == ({"site": "south"}, {"site": "south"})
    assert shown["note"]["text"] == "its fan is loud"
    again.close()


def test_an_unknown_device_does_not_stop_the_labels_of_others(state: State) -> None:
    meet(state, "a")
    assert label(state, gone={"site": "x"}, a={"site": "x"}) == ["unknown_device", ""]
    assert labels(state) == {"site": "x"}


@pytest.mark.parametrize("bad", [{}, {"a=b": "x"}, {"": "x"}, {"site": "x" * 200}, {"si te": "x"}, {"site": "x\ny"}])
def test_an_invalid_label_is_refused_before_any_device_has_changed(state: State, bad: dict[str, str]) -> None:
    meet(state, "a", "b")
    asked = {"devices": {"a": {"site": "x"}, "b": bad}}
    status, body = call(state, "POST", "/v1/devices/label", json=asked)
    assert (status, body["code"], labels(state)) == (422, "request_invalid", {})


def test_a_device_has_a_maximum_of_given_labels(state: State) -> None:
    meet(state, "a")
    assert label(state, a={f"k{number}": "v" for number in range(MAX_LABELS)}) == [""]
    assert label(state, a={"more": "v"}) == ["request_invalid"]


def test_a_selector_selects_by_labels_in_a_list_of_devices_and_can_be_ended(state: State) -> None:
    meet(state, "a", "b")
    label(state, a={"site": "north"})
    status, made = call(state, "PUT", "/v1/selectors/cold", json={"labels": {"site": "north"}})
    assert (status, made["labels"]) == (200, {"site": "north"})
    _, page = call(state, "GET", "/v1/devices?selector=cold")
    assert [each["device"] for each in page["devices"]] == ["a"]
    assert [each["name"] for each in call(state, "GET", "/v1/selectors")[1]] == ["cold"]
    assert call(state, "DELETE", "/v1/selectors/cold")[0] == 200
    status, body = call(state, "GET", "/v1/devices?selector=cold")
    assert (status, body["code"]) == (422, "request_invalid")
    assert call(state, "PUT", "/v1/selectors/cold", json={"labels": {}})[0] == 422


def test_a_device_that_gets_a_label_joins_the_rollout_that_selects_it(state: State) -> None:
    meet(state, "a")
    state.world.caches.joining.clear()
    verbs.label(state, {"a": {"site": "north"}}, actor="ada")
    assert state.world.caches.joining == {"a"}


def test_quarantines_of_many_devices_end_in_one_call(state: State) -> None:
    state.world.durable.quarantine |= {"a": {"1" * 64: "r"}, "b": {"2" * 64: "r", "3" * 64: "r"}}
    assert call(state, "POST", "/v1/devices/unquarantine", json={"devices": ["a", "b"]})[1] == {"versions": 3}
    assert state.world.durable.quarantine == {}


def test_changes_are_read_from_arguments_and_from_a_table() -> None:
    assert read_changes(["site=a", "rack=", "old-"]) == {"site": "a", "rack": "", "old": None}
    table = ["device,site,rack\n", "a,north,\n", "b,-,7\n", "c,,\n"]
    assert read_label_table(table) == {"a": {"site": "north"}, "b": {"site": None, "rack": "7"}}
    with pytest.raises(BadInput, match="expected `device`"):
        read_label_table(["name,site\n"])
    with pytest.raises(BadInput, match="line 3"):
        read_label_table(["device,site\n", "a,x\n", "no name,x\n"])


class Fleet:
    """A controller with three devices at a site."""

    asked: list[Any] = []

    def device_pages(self, *_: object) -> list[DevicePage]:
        devices = [type("D", (), {"device": name})() for name in ("a", "b", "c")]
        return [type("P", (), {"devices": devices})()]  # type: ignore[list-item]  # a page of names alone

    def refuse_as(self, deed: str, devices: Sequence[str]) -> None:
        """Returns that this person has every permission."""

    def unquarantine(self, *names: str) -> int:
        self.asked.append(names)
        return 3

    def label_devices(self, changes: dict[str, Any]) -> Table[DeviceAnswer]:
        self.asked.append(changes)
        return Table(DeviceAnswer(device=name) for name in changes)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    for module in (selection, device_labels):
        monkeypatch.setattr(module, "Client", Fleet)
    monkeypatch.setattr(Fleet, "asked", [])
    return Fleet.asked


@pytest.mark.parametrize(("typed", "done"), [("3\n", True), ("y\n", False), ("2\n", False), ("\n", False)])
def test_a_bulk_command_shows_the_devices_and_asks_for_their_count(fleet: list[Any], typed: str, done: bool) -> None:
    said = CliRunner().invoke(cli, ["device", "unquarantine", "--label", "site=x"], input=typed)
    assert "3 devices: a, b, c" in said.output
    assert (said.exit_code, fleet) == ((0, [("a", "b", "c")]) if done else (1, []))


def test_yes_or_a_single_name_needs_no_confirmation(fleet: list[Any]) -> None:
    assert CliRunner().invoke(cli, ["device", "unquarantine", "a"]).exit_code == 0
    assert CliRunner().invoke(cli, ["device", "unquarantine", "--label", "site=x", "--yes"]).exit_code == 0
    assert CliRunner().invoke(cli, ["device", "label", "a", "site=x", "old-"]).output == "a: old-, site=x\n"
    assert fleet == [("a",), ("a", "b", "c"), {"a": {"site": "x", "old": None}}]


def test_all_devices_found_by_filters_get_the_label_after_their_count_is_typed(fleet: list[Any]) -> None:
    words = ["device", "label", "--label", "site=x", "--presence", "silent", "check=yes"]
    said = CliRunner().invoke(cli, words, input="3\n")
    assert "Label 3 devices: a, b, c." in said.output
    assert fleet == [{name: {"check": "yes"} for name in ("a", "b", "c")}]
    assert CliRunner().invoke(cli, words, input="yes\n").exit_code == 1
    assert len(fleet) == 1


def test_labelling_without_a_label_is_refused_before_a_question(fleet: list[Any]) -> None:
    said = CliRunner().invoke(cli, ["device", "label", "a"])
    assert (said.exit_code, fleet) == (1, [])
    assert "name a label" in str(said.exception)
