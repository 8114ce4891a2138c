"""A device that enrolled after the backup: the restored controller does not know it and accepts it automatically."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.errors import WorldError
from controller.broker.configurations import free_port
from controller.broker.process import find_mosquitto
from edgeward.client import Client
from edgeward.demo.processes import Process, wait_for

CONTROLLER = """\
[storage]
data_dir = "{data_dir}"
[api]
port = {api}
[broker]
url = "mosquitto"
port = {broker}
tls = true
[fleet]
reconcile_s = 0.2
"""
QUICKLY = "\n[intervals]\nheartbeat_s = 0.5\n"


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@dataclass
class Fleet:
    """A controller whose addresses do not change by a restore, and its devices."""

    directory: Path
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data_dir = self.directory / "controller"
        self.config = self.directory / "controller.toml"
        text = CONTROLLER.format(data_dir=self.data_dir, api=free_port(), broker=free_port())
        self.config.write_text(text)

    def run(self, program: str, *arguments: str) -> str:
        environment = {**os.environ, "EDGEWARD_DATA_DIR": str(self.data_dir), "COLUMNS": "200"}
        command = [script(program), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, *command: str) -> Process:
        self.processes.append(Process(name, [script(command[0]), *command[1:]], self.directory / f"{name}.log"))
        self.processes[-1].start()
        return self.processes[-1]

    def start_controller(self) -> tuple[Process, Client]:
        controller = self.start("controller", "edgeward-controller", "run", "-c", str(self.config))
        return controller, wait_for("the controller", self._client, controller)

    def enrol(self, name: str) -> Process:
        home = self.directory / name
        self.run("edgeward", "device", "enrol", name, "--out", f"{home}.json")
        self.run("edgeward-agent", "enrol", f"{home}.json", "--out", str(home))
        config = home / "agent.toml"
        config.write_text(config.read_text() + QUICKLY)
        return self.start(name, "edgeward-agent", "run", "-c", str(config))

    def _client(self) -> Client | None:
        try:
            where = json.loads((self.data_dir / "controller.json").read_text())
            client = Client(where["url"], (self.data_dir / "token").read_text())
            return client if client.health().broker_connected else None
        except (OSError, ValueError, WorldError):
            return None


def is_online(client: Client) -> bool:
    return any(each.presence == "online" and each.hardware is not None for each in client.devices())


pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(180),
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto (CI does)"),
]


def test_a_device_that_enrolled_after_the_backup_is_accepted_again_automatically(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        controller, client = fleet.start_controller()
        fleet.enrol("cam-1")
        wait_for("the first device", lambda: is_online(client), controller)
        fleet.run("edgeward", "backup", str(tmp_path / "b.tar"))
        agent = fleet.enrol("cam-2")
        wait_for("the second device", lambda: len(client.devices()) == 2 or None, agent)
        controller.stop()
        shutil.rmtree(fleet.data_dir)
        assert "next: edgeward-controller run" in fleet.run("edgeward", "restore", str(tmp_path / "b.tar"))
        controller, client = fleet.start_controller()
        taken_in = lambda: [e.subject for e in client.audit_entries(limit=50) if e.action == "certificate taken in"]  # noqa: E731
        assert wait_for("the device to be accepted", taken_in, agent) == ["cam-2"]
        wait_for("it to be heard", lambda: client.device("cam-2").hardware is not None or None, agent)
        wait_for("the device in the backup", lambda: client.device("cam-1").presence == "online" or None, agent)
    finally:
        for process in reversed(fleet.processes):
            process.stop()


def test_a_retired_device_logs_that_it_was_retired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        _, client = fleet.start_controller()
        agent = fleet.enrol("cam-1")
        wait_for("the device", lambda: is_online(client), agent)
        client.retire(["cam-1"])
        words = lambda: [line for line in agent.log.read_text().splitlines() if "retired" in line or "revoked" in line]  # noqa: E731
        assert wait_for("its log to tell", words, agent)
    finally:
        for process in reversed(fleet.processes):
            process.stop()
