"""The demo's steps over real processes, on the embedded broker and on Mosquitto."""

import subprocess
from pathlib import Path

import pytest

from contract.mqtt_address import parse_mqtt_address
from controller.broker.process import find_mosquitto
from edgeward.demo.processes import Site
from edgeward.demo.story import DEVICES, MODEL, Story

pytestmark = pytest.mark.broker


@pytest.mark.timeout(240)
@pytest.mark.parametrize("broker_kind", ["mosquitto", pytest.param("embedded", marks=pytest.mark.soak)], indirect=True)
def test_the_demo_runs_all_its_steps(broker_kind: str, tmp_path: Path) -> None:
    site = Site(tmp_path, broker=broker_kind)
    told: list[str] = []
    try:
        client = site.start_controller()
        assert client.health().broker.startswith(broker_kind)
        for number in range(1, DEVICES + 1):
            site.start_agent(number)
        story = Story(site, client, told.append)
        story.wait_for_devices()

        first = story.install_first()
        assert (first.status, len(first.devices)) == ("completed", DEVICES)

        better = story.improve()
        assert (better.status, len(better.devices)) == ("completed", DEVICES)
        assert story.killed
        assert site.agents[story.killed].starts == 2
        assert better.accuracy_after is not None
        assert better.accuracy_before is not None

        bad = story.refuse()
        assert (bad.status, bad.devices) == ("rolled_back", [])
        assert len(story.running(better.release)) == DEVICES
        assert story.failed_inferences() == 0
        assert story.inferences() > 1000

        assert [version.release for version in client.versions(MODEL)] == [1, 2, 3]
        assert client.version(MODEL, 2).lineage.tags == {"demo": "forest, twelve years"}
        canary = client.open_rollout(client.rollouts()[0].id).show().members[0].device
        words = [entry.report.state for entry in client.device(canary).history if entry.report.state]
        phases = [word.phase for word in words]
        assert phases[-1] == "steady"
        assert {"fetching", "probing", "trial", "steady"} <= set(phases)
        table = client.devices().to_frame()
        assert set(table["stable"]) == {2}
    finally:
        site.stop()
    logs = "".join(path.read_text() for path in tmp_path.glob("**/*.log"))
    assert "Traceback" not in logs, logs[-3000:]


@pytest.mark.timeout(120)
def test_all_messages_except_blobs_are_readable_json(tmp_path: Path) -> None:
    """mosquitto_sub -t 'edgeward/#' against a real Mosquitto."""
    import json
    import shutil

    from edgeward.demo.models import train_first
    from edgeward.demo.processes import wait_for

    subscriber = shutil.which("mosquitto_sub")
    if subscriber is None or find_mosquitto() is None:
        pytest.skip(
            "no mosquitto and mosquitto_sub on this machine: apt-get install mosquitto mosquitto-clients (CI does)"
        )
    site = Site(tmp_path, broker="mosquitto", broker_keys="tls = false\n")
    try:
        client = site.start_controller()
        broker = parse_mqtt_address(client.enrolment().broker_url)
        login = ["-p", str(broker.port), "-u", broker.username, "-P", broker.password]
        log = tmp_path / "seen.txt"
        with log.open("wb") as out:
            watching = subprocess.Popen([subscriber, *login, "-V", "5", "-v", "-t", "edgeward/#"], stdout=out)
            site.start_agent(1)
            model, sample = train_first()
            wait_for("the device", lambda: bool(client.devices()))
            client.push(model, name=MODEL, sample=sample)
            strategy = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}
            client.rollout(MODEL, strategy=strategy).wait(timeout_s=60)
            wait_for("telemetry", lambda: "up/telemetry" in log.read_text())
            watching.terminate()
            watching.wait()
    finally:
        site.stop()
    seen = [line.partition(" ") for line in log.read_text().splitlines()]
    kinds = {topic.rpartition("/")[2] for topic, _, _ in seen}
    assert {"presence", "heartbeat", "report", "telemetry", "desired", "ack", MODEL} <= kinds
    for topic, _, payload in seen:
        assert isinstance(json.loads(payload), dict), topic
