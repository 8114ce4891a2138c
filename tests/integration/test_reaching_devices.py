"""One world of real processes: labels and filters, a device's log and doctor, a candidate on a
device, another configuration, by commands."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.tree import DecisionTreeClassifier

from contract.errors import WorldError
from edgeward.cli.main import cli
from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output or done.exception
    return done.output


@pytest.mark.timeout(240)
def test_devices_are_labelled_found_asked_and_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path / "site", rate_hz=20.0)
    client = site.start_controller()
    agents = [site.start_agent(number) for number in (1, 2)]
    monkeypatch.setenv("EDGEWARD_DATA_DIR", str(site.data_dir))
    try:
        wait_for("both devices", lambda: len(client.devices(presence=["online"])) == 2 or None, within_s=60)
        run("device", "label", "device-1", "site=north", "rack=7")
        assert [each.device for each in client.devices(labels={"site": "north"})] == ["device-1"]
        run("selector", "save", "cold", "site=north")
        assert json.loads(run("device", "list", "--selector", "cold", "--json"))[0]["given_labels"] == {
            "rack": "7", "site": "north",
        }  # fmt: skip
        assert "2 devices" in run("fleet")
        assert "controller: ok" in run("status")
        _logs_and_doctor(client)
        _a_candidate(client)
        _another_configuration(client)
        agents[1].kill()
        _a_silent_device_is_said_in_time()
    finally:
        site.stop()


def _logs_and_doctor(client: Client) -> None:
    found = client.logs("device-1", 50)
    assert any("device-1 is up" in line for line in found.lines), found.lines
    assert "ok   clock" in run("device", "doctor", "device-1")
    actions = [entry.action for entry in client.audit_entries(subject="device-1")]
    assert {"device logs", "device doctor", "device label"} <= set(actions)


def _a_candidate(client: Client) -> None:
    """A model is probed on a device of a class. It is not registered, and the broker keeps nothing of it."""
    rows = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, rows[:, 0] > 0)
    found = client.try_out(tree, name="candidate", sample=rows, on={"site": "north"}, max_bytes=100_000)
    assert found.on is not None
    assert (found.on.device, found.on.code, found.on.detail) == ("device-1", "", "")
    assert found.on.latency_us_p50 > 0
    assert found.on.sandbox == "landlock+seccomp"
    assert "candidate" not in {each.model for each in client.models()}
    large = client.try_out(tree, name="candidate", sample=rows, on="device-1", max_bytes=10)
    assert large.on is not None
    assert (large.on.device, large.on.code) == ("", "conversion_limit")
    actions = [entry.action for entry in client.audit_entries(subject="device-1")]
    assert actions.count("device probe") == 1


def _another_configuration(client: Client) -> None:
    run("device", "tune", "device-1", "--heartbeat-s", "2", "--pause", "replay-1")
    wait_for("the trial", lambda: (said := client.device("device-1").config_said) and said.trial)
    wait_for("the pause", lambda: client.device("device-1").sensors[0].state == "paused")
    assert "on trial" in run("device", "show", "device-1")
    assert "has no sensor 'serial-9'; there are: replay-1" in run(
        "device", "tune", "device-1", "--pause", "serial-9", code=1
    )


def _a_silent_device_is_said_in_time() -> None:
    began = time.monotonic()
    said = CliRunner().invoke(cli, ["device", "logs", "device-2"])
    assert isinstance(said.exception, WorldError)
    assert said.exception.code == "device_unreachable"
    assert time.monotonic() - began < 15
