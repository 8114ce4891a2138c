"""`edgeward device pin | unpin` and `edgeward rollout template`: the real client and API, without sockets."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contract.errors import BadInput, Code
from controller.reconcile.world import Retired, drop_twin
from controller.state import State
from edgeward.answers.devices import Device, DevicePage
from edgeward.answers.pins import PinAnswer
from edgeward.cli import device_list
from edgeward.cli.device_pin import freed_words
from edgeward.cli.main import cli
from edgeward.transport import Transport
from tests.controller.test_api import call
from tests.controller.test_pins import state  # noqa: F401  # a fixture: devices a and b run v1 of two signed versions
from tests.edgeward.test_answers import device_json

Run = Callable[..., Result]


@pytest.fixture
def run(state: State, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811
    def answered(method: str, path: str, body: Any = None) -> Any:
        status, said = call(state, method, path, **({} if body is None else {"json": body}))
        if status >= 400:
            raise BadInput(Code(said["code"]), said["detail"])
        return said

    monkeypatch.setattr(Transport, "get", lambda self, path, also=(): answered("GET", path))
    monkeypatch.setattr(Transport, "post", lambda self, path, body=None: answered("POST", path, body or {}))
    monkeypatch.setattr(Transport, "put", lambda self, path, body=None: answered("PUT", path, body or {}))
    monkeypatch.setattr(Transport, "delete", lambda self, path: answered("DELETE", path))
    monkeypatch.setenv("EDGEWARD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGEWARD_TOKEN", "t")
    return lambda *words, typed="": CliRunner().invoke(cli, [*words], input=typed)


def test_a_pin_is_previewed_set_listed_shown_and_ended(run: Run) -> None:
    dry = run("device", "pin", "a", "--model", "m", "--release", "2", "--dry-run")
    assert dry.output == "a: would be held at v2, and sent there from v1\n"
    assert run("device", "pin", "a", "--model", "m", "--reason", "audit").output == "a: held at v1\n"
    assert "m is pinned at v1 by local" in run("device", "show", "a").output
    assert [each["device"] for each in json.loads(run("device", "list", "--pinned", "--json").stdout)] == ["a"]
    assert "m v1" in run("device", "list", "--pinned", "--csv").output
    planned = run("rollout", "plan", "m", "--strategy", "all_at_once").output
    assert "1 device pinned: a: pinned at v1" in " ".join(planned.split())
    assert run("device", "unpin", "a", "--model", "m").output == "a: let go of v1; it keeps v1 until a rollout\n"
    taken = PinAnswer.read({"device": "a", "release": 1, "runs": 1, "rollout": "r-1", "rollout_release": 4})
    assert freed_words(taken) == "let go of v1; r-1 takes it to v4"
    refused = run("device", "unpin", "a", "--model", "m")
    assert (refused.exit_code, refused.output) == (1, "a: request_invalid: no pin holds m there; held: none\n")


def test_a_bulk_pin_says_what_it_would_do_before_it_asks(run: Run, state: State) -> None:  # noqa: F811
    asked = run("device", "pin", "--presence", "online", "--model", "m", "--release", "2", typed="no\n")
    assert "2 devices: v2: would be sent there" in asked.output, "nothing is done yet"
    assert "Type 2 to go on" in asked.output
    assert not state.world.durable.twins["a"].pins
    done = run("device", "pin", "a", "b", "--model", "m", "--until", "2199-01-01", "--yes", "--json")
    assert [each["release"] for each in json.loads(done.stdout)] == [1, 1]
    past = run("device", "pin", "a", "--model", "m", "--until", "2001-01-01")
    assert "is in the past" in str(past.exception)


def test_a_mistyped_name_is_told_with_the_nearest_one(run: Run, state: State) -> None:  # noqa: F811
    state.world.durable.twins["a"].labels.update(site="oslo")
    for words, said in (
        (("device", "pin", "a", "--model", "n"), "no model 'n'; there are: m"),
        (("rollout", "plan", "m@champ"), "m has no version 'champ'"),
        (("rollout", "plan", "m", "--label", "site=osla"), "no device has site=osla; is it 'oslo'?"),
        (("device", "retire", "--label", "sits=oslo"), "no device has a label 'sits'; is it 'site'?"),
        (("device", "show", "aa"), "no device 'aa' has reported; is it 'a'?"),
    ):
        assert said in str(run(*words).exception)
    empty = " ".join(run("device", "list", "--model", "mm", "--version", "9", "--label", "site=osl").output.split())
    assert empty.startswith("no device meets these filters there is no model 'mm'; is it 'm'? v9 of mm answers on no")
    assert "no device has site=osl; is it 'oslo'?" in empty
    assert json.loads(run("device", "list", "--model", "mm", "--json").stdout) == []


def test_a_list_of_pinned_devices_has_only_the_models_that_are_held(run: Run) -> None:
    assert run("device", "pin", "a", "--model", "m").exit_code == 0
    rows = list(csv.DictReader(io.StringIO(run("device", "list", "--pinned", "--csv").output)))
    assert [(row["device"], row["model"], row["pinned"]) for row in rows] == [("a", "m", "m v1")]
    held = run("device", "list", "--model", "m", "--pinned", "--csv").output
    assert held.count("a,") == 1
    two = Device.read(
        device_json(
            device="a",
            models=[{"model": name, "desired_release": 1, "state": None, "measured": []} for name in ("m", "other")],
            pinned={"m": 1},
        )
    )
    given = {"pinned": True, "model": ""}
    shown = device_list._rows_of_page(DevicePage(total=1, devices=(two,)), ("device", "model"), given)
    assert shown == [("a", "m")]


def test_a_template_is_saved_listed_shown_used_and_deleted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "quick.toml"
    file.write_text('name = "quick"\n[[waves]]\npercent = 100\n', encoding="utf-8")
    hours = ("--hours", "mon-sun 00:00-12:00")
    saved = run("rollout", "template", "save", "usual", "--strategy", str(file), *hours, "--note", "as always")
    said = "usual, revision 1: quick to every device, in mon-sun 00:00-12:00 UTC; as always"
    assert " ".join(saved.output.split()) == said, saved.exception
    assert run("rollout", "template", "save", "usual", "--strategy", str(file)).exit_code == 0
    listed = json.loads(run("rollout", "template", "list", "--json").stdout)
    assert [(each["name"], each["revision"]) for each in listed] == [("usual", 2)]
    assert "as always" in run("rollout", "template", "show", "usual", "--revision", "1").output
    assert run("rollout", "template", "show", "usual", "--revision", "9").exit_code == 2
    started = run("rollout", "start", "m", "--template", "usual", "--json")
    assert json.loads(started.stdout)["strategy"] == "quick"
    assert run("rollout", "template", "delete", "usual").exit_code == 0
    assert run("rollout", "template", "list", "--json").stdout.strip() == "[]"


def test_a_retired_device_is_shown_with_the_way_back_and_without_figures(run: Run, state: State) -> None:  # noqa: F811
    state.world.durable.retired["a"] = Retired(at="2026-01-02T03:04:05+00:00", by="ada")
    drop_twin(state.world, "a")
    shown = run("device", "show", "a").output
    assert "a retired, offline: it was retired" in shown
    assert "edgeward device adopt a takes it in again" in shown
    assert "received" not in shown
    assert "unknown_device" not in run("device", "vitals", "a").output
