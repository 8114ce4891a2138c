"""A site without a broker: a stick carries the model there and carries the reports back."""

import json
from pathlib import Path

import pytest

from contract.errors import BadInput
from edgeward.client import Client
from edgeward.demo.models import train_first
from edgeward.demo.processes import Process, Site, wait_for
from tests.integration.test_transport import AT_ONCE

pytestmark = pytest.mark.broker


def start_agent_on(site: Site, stick: Path) -> Process:
    """The device `device-1` with a stick in place of a broker."""
    agent = site.prepare_agent(1)
    config = site.directory / "device-1" / "agent.toml"
    before = config.read_text()
    address = next(line for line in before.splitlines() if line.startswith("url = "))
    config.write_text(before.replace(address, f'url = "{stick.as_uri()}"'))
    agent.start()
    return agent


def said(stick: Path) -> str:
    """Returns the messages that the device has written to the stick."""
    path = stick / "from-device-1.json"
    return path.read_text() if path.exists() else ""


def stable(client: Client) -> int:
    """Returns the confirmed release of the device that the controller knows."""
    (device,) = client.devices()
    return next((model.stable_release or 0 for model in device.models), 0)


@pytest.mark.timeout(240)
def test_a_stick_carries_a_model_to_a_device_without_a_broker_and_its_report_back(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", rate_hz=20.0)
    client = site.start_controller()
    stick = tmp_path / "a stick"
    stick.mkdir()
    agent = start_agent_on(site, stick)
    try:
        wait_for("the device's first words", lambda: "heartbeat" in said(stick))
        assert client.import_stick(stick).refused == 0
        wait_for("the device", lambda: client.devices() or None)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        handle = client.rollout("weather", strategy=AT_ONCE)
        exported = wait_for("an offer", lambda: (e := client.export_stick([], stick)).devices and e)
        assert exported.devices == ("device-1",)
        wait_for("the verdict", lambda: '\\"confirmed\\"' in said(stick), within_s=90)
        assert stable(client) == 0, "nobody has carried the stick back yet"
        assert client.import_stick(stick).refused == 0
        assert client.import_stick(stick).refused == 0, "a repeated import changes nothing"
        assert handle.wait(timeout_s=30).status == "completed"
        assert stable(client) == 1
        assert client.export_stick(["device-1"], stick).size_bytes == 0, "files on the stick are not written again"
        (stick / "from-device-9.json").write_text("{")
        with pytest.raises(BadInput, match=r"from-device-9\.json"):
            client.import_stick(stick)
        assert "source" not in agent.log.read_text()
    finally:
        site.stop()


@pytest.mark.timeout(240)
def test_a_stick_removed_too_early_or_with_false_data_changes_nothing_until_it_is_complete(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", rate_hz=20.0)
    client = site.start_controller()
    stick, pulled = tmp_path / "stick", tmp_path / "pulled"
    stick.mkdir()
    agent = start_agent_on(site, stick)
    try:
        wait_for("the device's first words", lambda: "heartbeat" in said(stick))
        client.import_stick(stick)
        wait_for("the device", lambda: client.devices() or None)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        client.rollout("weather", strategy=AT_ONCE)
        wait_for("an offer", lambda: client.export_stick([], pulled).devices or None)
        whole = (pulled / "documents.json").read_bytes()
        (stick / "documents.json").write_bytes(whole[:-100])
        wait_for("a word about it", lambda: "message_malformed" in agent.log.read_text())
        lies = json.loads(whole)
        (desired,) = (topic for topic in lies["documents"] if topic.endswith("/desired"))
        lies["documents"][desired] = lies["documents"][desired].replace("device-1", "device-2")
        (stick / "documents.json").write_text(json.dumps(lies))
        wait_for("a refusal", lambda: "refused" in said(stick) or "refusal" in said(stick))
        stick.rename(tmp_path / "elsewhere")
        wait_for("that it is gone", lambda: "is gone" in agent.log.read_text())
        pulled.rename(stick)  # with documents and blobs
        wait_for("the verdict", lambda: '\\"confirmed\\"' in said(stick), within_s=90)
        client.import_stick(stick)
        wait_for("the report", lambda: stable(client) == 1)
    finally:
        site.stop()
