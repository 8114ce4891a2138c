"""Real processes for the demo: one controller, any number of agents, and a supervisor that restarts agents.

Decides their configuration. Refuses to know the demo's story.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from contract.errors import Code, WorldError
from edgeward.client import Client
from edgeward.demo.models import LABEL, TRAINED_UNTIL, weather_file

T = TypeVar("T")

START_S = 90.0
STOP_S = 10.0

_CONTROLLER = """\
[storage]
data_dir = "{data_dir}"
[api]
port = 0
[broker]
url = "{broker}"
port = 0
{keys}[fleet]
silent_s = 10.0
reconcile_s = 0.2
"""

_AGENT = """\
[device]
name = "{name}"
state_dir = "{directory}/state"
labels = {{ site = "{site}" }}
[broker]
url = "{broker_url}"
{keys}[intervals]
heartbeat_s = 1.0
telemetry_s = 1.0
judge_s = 0.25
"""

_CERTIFICATE = """\
ca_file = "{directory}/ca.pem"
cert_file = "{directory}/device.pem"
key_file = "{directory}/device.key"
[enrolment]
url = "{url}"
claim_file = "claim.json"
"""

_REPLAY = """\
[[sensor]]
kind = "replay"
model = "weather"
path = "{data}"
rate_hz = {rate_hz}
label = "{label}"
start_row = {start_row}
loop = true
"""


@dataclass
class Process:
    """A child process and its log file."""

    name: str
    command: list[str]
    log: Path
    child: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        """Starts the process, or starts it again."""
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        self.starts += 1

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """Ends the process at once with SIGKILL, as a power cut would."""
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self) -> None:
        """Ends the process with SIGTERM, and with SIGKILL if it still runs after STOP_S seconds."""
        if self.child is None or not self.alive:
            return
        self.child.terminate()
        try:
            self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class Site:
    """A controller and its agents in one directory."""

    directory: Path
    broker: str = "auto"
    rate_hz: float = 100.0
    broker_keys: str = ""
    """Further keys of the controller's [broker] table."""
    agent_broker_keys: str = ""
    """Further keys of each agent's [broker] table, with {name} for the device."""
    controller_tables: str = ""
    """Further tables of controller.toml."""
    agent_tables: str = ""
    """Further tables of each agent.toml."""
    rows_of: Callable[[int], str] | None = None
    """The table by which the agent of a number gets its rows; None: it replays weather."""
    controller: Process | None = None
    agents: dict[str, Process] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        """The data directory of the controller."""
        return self.directory / "controller"

    @property
    def url(self) -> str:
        """The address of the controller, once it answers."""
        return str(json.loads((self.data_dir / "controller.json").read_text(encoding="utf-8"))["url"])

    def start_controller(self) -> Client:
        """Starts the controller, waits until it answers, and returns a client for it. WorldError if it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "controller.toml"
        config.write_text(
            _CONTROLLER.format(data_dir=self.data_dir, broker=self.broker, keys=self.broker_keys)
            + self.controller_tables,
            encoding="utf-8",
        )
        command = [_script("edgeward-controller"), "run", "-c", str(config)]
        self.controller = Process("controller", command, self.directory / "controller.log")
        self.controller.start()
        return wait_for("the controller", self._client, self.controller)

    def start_agent(self, number: int) -> Process:
        """Starts the agent of `device-<number>`."""
        agent = self.prepare_agent(number)
        agent.start()
        return agent

    def prepare_agent(self, number: int) -> Process:
        """Writes the configuration of `device-<number>`; returns the process, not started. It replays its own rows."""
        assert self.controller is not None
        name = f"device-{number}"
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        client = self._client_or_fail()
        enrolment = client.enrolment()
        (directory / "root.json").write_text(enrolment.root, encoding="utf-8")
        config = directory / "agent.toml"
        text = _AGENT.format(
            name=name,
            directory=directory,
            site="north" if number % 2 else "south",
            broker_url=enrolment.broker_url,
            keys=self._certificate(client, directory)
            if enrolment.needs_claim
            else self.agent_broker_keys.format(name=name),
        )
        rows = self.rows_of(number) if self.rows_of is not None else self._replay(number)
        config.write_text(text + rows + self.agent_tables, encoding="utf-8")
        command = [_script("edgeward-agent"), "run", "-c", str(config)]
        self.agents[name] = Process(name, command, directory / "agent.log")
        return self.agents[name]

    def supervise(self) -> list[str]:
        """Restarts agents that have ended, as systemd would; returns their names."""
        dead = [agent for agent in self.agents.values() if not agent.alive]
        for agent in dead:
            agent.start()
        return [agent.name for agent in dead]

    def stop(self) -> None:
        """Stops all agents and the controller."""
        for agent in self.agents.values():
            if agent.child is not None and agent.alive:
                agent.child.terminate()
        for process in [*self.agents.values(), *([self.controller] if self.controller else [])]:
            process.stop()

    def _replay(self, number: int) -> str:
        return _REPLAY.format(
            data=weather_file(), label=LABEL, rate_hz=self.rate_hz, start_row=TRAINED_UNTIL + 30 * number
        )

    def _certificate(self, client: Client, directory: Path) -> str:
        """Writes a claim for the agent's first start; returns the keys and tables for it."""
        claim = client.claim(directory.name)
        (directory / "claim.json").write_text(json.dumps(claim.plain), encoding="utf-8")
        return _CERTIFICATE.format(directory=directory, url=claim.url)

    def _client_or_fail(self) -> Client:
        client = self._client()
        assert client is not None
        return client

    def _client(self) -> Client | None:
        try:
            client = Client(self.url, (self.data_dir / "token").read_text(encoding="ascii"))
            return client if client.health().broker_connected else None
        except (OSError, ValueError, WorldError):
            return None


def wait_for(
    what: str, look: Callable[[], T | None], process: Process | None = None, *, within_s: float = START_S
) -> T:
    """Calls `look` until it finds something, and returns that; an empty list, a zero and no answer do not count.

    WorldError with the end of the process's log if the process ends or `within_s` has passed.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        if process is not None and not process.alive:
            break
        time.sleep(0.1)
    log = process.log.read_text(encoding="utf-8", errors="replace")[-800:] if process is not None else ""
    raise WorldError(Code.CONTROLLER_UNREACHABLE, f"{what} did not happen in {within_s:.0f} s. {log}")


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
