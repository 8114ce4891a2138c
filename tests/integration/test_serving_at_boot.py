"""Real agents whose disk, files or broker fail at boot: confirmed versions answer, and the device reconnects."""

import http.client
import subprocess
from pathlib import Path

import pytest

from controller.broker.configurations import free_port
from edgeward.demo.models import train_first
from edgeward.demo.processes import Process, Site, wait_for

pytestmark = pytest.mark.broker
PASSWORD = "tls = false\n"
"""A claim contains the root and the authority that are missing here."""
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/v2/models/weather/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def check_full_disk(agent: Process, port: int) -> None:
    """The same command while the system refuses each write to a file; its output goes to a pipe."""
    command = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *agent.command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            wait_for("an answer on a full disk", lambda: is_ready(port))
        finally:
            child.terminate()
        assert child.stdout is not None
        assert b"refused: disk_failed: File too large" in child.stdout.read()
        assert child.wait(10) == 0


def check_broken(agent: Process, port: int, words: str) -> None:
    """Checks that the agent answers, runs, and logs why it has no link."""
    before = len(agent.log.read_text())
    agent.start()
    wait_for("an answer without a link", lambda: is_ready(port), agent)
    wait_for("the reason", lambda: words in agent.log.read_text()[before:], agent)
    assert agent.alive


@pytest.mark.timeout(180)
def test_a_confirmed_version_answers_despite_any_fault_at_boot_and_the_device_reconnects(tmp_path: Path) -> None:
    port = free_port()
    site = Site(tmp_path, broker_keys=PASSWORD, agent_tables=f'[serving]\nlisten = "127.0.0.1:{port}"\n')
    try:
        client = site.start_controller()
        agent = site.start_agent(1)
        wait_for("the device", lambda: len(client.devices()) > 0)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
        agent.stop()
        check_full_disk(agent, port)

        config = tmp_path / "device-1" / "agent.toml"
        right = config.read_text()
        url = next(line for line in right.splitlines() if line.startswith("url"))
        config.write_text(right.replace(url, 'url = "mqtt://no-such-host.invalid:1883"'))
        check_broken(agent, port, "no-such-host.invalid:1883 does not answer; trying again")
        agent.stop()

        missing = f'url = "mqtts://127.0.0.1:{free_port()}"\nca_file = "{tmp_path}/gone.pem"'
        config.write_text(right.replace(url, missing))
        check_broken(agent, port, "gone.pem: No such file")
        agent.stop()

        config.write_text(right)
        root = tmp_path / "device-1" / "root.json"
        root.write_text("torn")
        agent.start()
        wait_for("the device", lambda: client.devices()[0].presence == "online", agent)
        assert "going on with the trust that was verified before" in agent.log.read_text()
    finally:
        site.stop()


@pytest.mark.timeout(60)
def test_a_new_device_without_its_root_connects_once_the_root_exists(tmp_path: Path) -> None:
    site = Site(tmp_path, broker_keys=PASSWORD)
    try:
        client = site.start_controller()
        agent = site.prepare_agent(1)
        root = tmp_path / "device-1" / "root.json"
        text = root.read_text()
        root.unlink()
        agent.start()
        wait_for("the reason", lambda: "trust.root_file" in agent.log.read_text(), agent)
        root.write_text(text)
        wait_for("the device", lambda: len(client.devices()) > 0, agent)
    finally:
        site.stop()
