"""A broker stops or a controller is killed: devices keep serving, and the update still arrives."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.broker.configurations import free_port
from controller.broker.process import RunningBroker, start_broker
from controller.config import BrokerConfig
from edgeward.client import Client
from edgeward.demo.models import train_better, train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker

EDGEWARD = Path(sys.executable).with_name("edgeward")
AGENT = EDGEWARD.with_name("edgeward-agent")
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}


def start_site(tmp_path: Path, kind: str) -> tuple[Site, Client, RunningBroker, BrokerConfig]:
    config = BrokerConfig(url=kind, port=free_port())
    broker = start_broker(config, tmp_path / "broker")
    site = Site(tmp_path / "site", broker=broker.url)
    client = site.start_controller()
    site.start_agent(1)
    wait_for("the device", lambda: bool(client.devices()))
    model, sample = train_first()
    client.push(model, name="weather", sample=sample)
    assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
    return site, client, broker, config


def inferences(client: Client) -> int:
    return sum(m.inferences for d in client.devices() for model in d.models for m in model.measured)


def refusals(client: Client) -> list[str]:
    reports = [entry.report for entry in client.device("device-1").history]
    return [report.refusal.code for report in reports if report.refusal]


@pytest.mark.timeout(180)
def test_a_rollout_survives_a_broker_that_was_killed_and_lost_its_data_between_two_updates(
    broker_kind: str, tmp_path: Path
) -> None:
    site, client, broker, config = start_site(tmp_path, broker_kind)
    try:
        assert broker.process is not None
        broker.process.send_signal(signal.SIGKILL)
        broker.process.wait()
        before = inferences(client)
        time.sleep(2)
        for path in (tmp_path / "broker").glob("*.db"):
            path.unlink()
        broker = start_broker(config, tmp_path / "broker")
        wait_for("telemetry that was kept while the broker was away", lambda: inferences(client) > before + 150)
        model, sample = train_better()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=90).status == "completed"
        assert all(d.dropped.get("rows_failed", 0) == 0 for d in client.devices())
        assert refusals(client) == [], "what is published again is the same bytes"
    finally:
        site.stop()
        broker.stop()


@pytest.mark.timeout(180)
def test_a_controller_killed_during_a_rollout_continues_with_the_same_plan(tmp_path: Path) -> None:
    site, client, broker, _ = start_site(tmp_path, "auto")
    try:
        model, sample = train_better()
        client.push(model, name="weather", sample=sample)
        slow = {**QUICK, "trial": {"soak_s": "4", "min_samples": 10}}
        started = client.rollout("weather", strategy=slow)
        wait_for("the trial", lambda: started.show().members[0].phase == "trial")
        told = client.device("device-1").document_version
        assert site.controller is not None
        site.controller.kill()
        (site.data_dir / "controller.json").unlink()
        client = site.start_controller()
        assert client.open_rollout(started.id).wait(timeout_s=60).status == "completed"
        versions = [m.desired_release for d in client.devices() for m in d.models]
        assert versions == [2]
        assert client.device("device-1").document_version == told, "no second offer"
        assert refusals(client) == []
    finally:
        site.stop()
        broker.stop()


@pytest.mark.timeout(120)
def test_only_one_agent_and_one_controller_own_a_directory(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.start_controller()
        agent = site.start_agent(1)
        wait_for("the lock", lambda: (tmp_path / "device-1" / "state" / "lock").exists(), agent)
        time.sleep(0.5)
        for command in (agent.command, site.controller.command if site.controller else []):
            second = subprocess.run(command, capture_output=True, timeout=30)
            assert second.returncode == 2
            assert b"belongs to another running" in second.stderr
    finally:
        site.stop()


@pytest.mark.timeout(120)
def test_push_from_ten_lines_of_python_then_rollout_reaches_a_running_agent(tmp_path: Path) -> None:
    """Pushes, rolls out and watches a model by the commands, as a data scientist does."""
    root = Path(__file__).parents[2]
    assert len((root / "examples" / "train.py").read_text().splitlines()) <= 10
    site = Site(tmp_path)
    try:
        site.start_controller()
        environment = {"EDGEWARD_DATA_DIR": str(site.data_dir), "PATH": "/usr/bin:/bin"}

        def run(*arguments: str) -> dict:
            done = subprocess.run([EDGEWARD, *arguments, "--json"], capture_output=True, env=environment, timeout=90)
            assert done.returncode == 0, done.stderr.decode()
            return json.loads(done.stdout)

        run("device", "config", "pi-1", "--out", str(tmp_path / "pi-1"))
        agent = subprocess.Popen(
            [AGENT, "run", "-c", str(tmp_path / "pi-1" / "agent.toml")],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for("the device", lambda: run("device", "list"))
            assert run("model", "push", str(root / "examples" / "train.py"), "--name", "iris")["passed"]
            strategy = tmp_path / "now.toml"
            strategy.write_text('name = "now"\n[[waves]]\npercent = 100\n[trial]\nsoak_s = "1"\nmin_samples = 0\n')
            view = run("rollout", "start", "iris", "--strategy", str(strategy), "--watch")
            assert (view["status"], view["counts"]) == ("completed", {"succeeded": 1})
            assert run("device", "show", "pi-1")["models"][0]["state"]["stable"]["release"] == 1
        finally:
            agent.terminate()
            agent.wait()
    finally:
        site.stop()
