"""The broker: started by the controller as a child (Mosquitto or the embedded one), or any MQTT 5 broker elsewhere.

Decides configuration and life of a started broker. Refuses to know topics.
"""

import getpass
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import BadInput, Code, WorldError
from controller.broker.mutual_tls import BrokerFiles
from controller.config import BrokerConfig
from controller.trust.enrolment import Enrolment
from controller.trust.keys import load_or_make_secret, write_secret

START_S = 15.0
RELOAD_S = 2.0
USER = "edgeward"
LOOPBACK = ("127.0.0.1", "0.0.0.0", "localhost")  # noqa: S104 - a wildcard, compared with
"""Hosts under which this machine reaches its own broker as localhost."""
STOP_S = 5.0
MOSQUITTO_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

_log = logging.getLogger("edgeward.broker")

_MOSQUITTO = """\
# Written by edgeward-controller at every start: changes here are lost.
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true
max_packet_size 1048576
max_inflight_messages 100
max_queued_messages 100000
max_keepalive 600
persistence true
persistence_location {directory}/
autosave_interval 60
log_dest stderr
log_type error
log_type warning
"""

_EMBEDDED = """\
# Written by edgeward-controller. MQTT 3.1.1 and 5 need a listener each.
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 20000
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "mqtt-3"
listen = "{host}:{v4_port}"
next_connection_delay_ms = 0
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
        [v4.1.connections.auth]
        edgeward = "{password}"
[v5.1]
name = "mqtt-5"
listen = "{host}:{port}"
next_connection_delay_ms = 0
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
        [v5.1.connections.auth]
        edgeward = "{password}"
"""

_TIED = """\
import ctypes, os, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(parent):
    sys.exit("the controller has gone")
os.execv(command[0], command)
"""
"""Becomes the broker after asking Linux for SIGTERM (15) when the thread that started it ends (PR_SET_PDEATHSIG, 1).

A program of its own, because Python warns of code between fork and exec in a process with threads.
"""

EMBEDDED_LIMITS = (
    "embedded broker: for one machine and small fleets; one password for everybody, so any device can read and write "
    "every topic (signed documents still hold, reports of enrolled devices too); no TLS; nothing survives its restart "
    "(the controller publishes again), at most 100 retained messages to one QoS 1 subscription"
)


@dataclass
class RunningBroker:
    """A broker to connect to. `process` is None for one that was not started here."""

    url: str
    kind: str
    process: subprocess.Popen[bytes] | None = None
    files: BrokerFiles | None = None
    """The files of a broker under mutual TLS."""
    restart: Callable[[], subprocess.Popen[bytes]] | None = None
    fault: str = ""
    """Why a broker that was started here is not up; empty while it is."""

    @property
    def shown(self) -> str:
        """The address without a password."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    def reload(self) -> bool:
        """Makes a broker under mutual TLS read its revocation list again; False if it had to be started anew for that.

        A reload that failed lets everybody in: a certificate that is always revoked must be refused afterwards.
        """
        if self.files is None or self.process is None or self.restart is None:
            return True
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + RELOAD_S
        while time.monotonic() < until:
            if not self.files.lets_in(self.port):
                return True
            time.sleep(0.1)
        _log.error("after a reload the broker lets a revoked certificate in: starting it again")
        self.stop()
        self.process = self.restart()
        return False

    def stop(self) -> None:
        """Ends a broker that was started here."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_broker(
    config: BrokerConfig, directory: Path, access: tuple[Enrolment, datetime] | None = None
) -> RunningBroker:
    """Starts what the configuration asks for, or describes the broker that runs elsewhere.

    BadInput `config_invalid` for an unknown kind; WorldError `broker_unreachable` when it does not come up.
    """
    if config.url.startswith(("mqtt://", "mqtts://")):
        return RunningBroker(config.url, "external")
    mosquitto = find_mosquitto()
    if config.url == "mosquitto" and mosquitto is None:
        raise BadInput(Code.CONFIG_INVALID, "broker.url = mosquitto, but there is no mosquitto on PATH")
    if config.url not in ("auto", "mosquitto", "embedded"):
        raise BadInput(
            Code.CONFIG_INVALID, f"broker.url {config.url!r}: auto, mosquitto, embedded, mqtt:// or mqtts://"
        )
    directory.mkdir(parents=True, exist_ok=True)
    port = config.port or free_port()
    if config.tls:
        if mosquitto is None or config.url == "embedded" or access is None:
            raise BadInput(Code.CONFIG_INVALID, "broker.tls needs Mosquitto: the embedded broker has no access control")
        return _start_secure(mosquitto, config, port, directory, enrolment=access[0], now=access[1])
    if mosquitto is not None and config.url != "embedded":
        return _start("mosquitto", _mosquitto_command(mosquitto, config, port, directory), config.host, port, directory)
    _log.warning(EMBEDDED_LIMITS)
    password = load_or_make_secret(directory / "password", secrets.token_urlsafe(24).encode())
    command = _embedded_command(config, port, directory, password)
    broker = _start("embedded", command, config.host, port, directory)
    broker.url = f"mqtt://{USER}:{password}@{config.host}:{port}"
    return broker


def _start_secure(
    mosquitto: str, config: BrokerConfig, port: int, directory: Path, *, enrolment: Enrolment, now: datetime
) -> RunningBroker:
    files = BrokerFiles(directory / "tls", "localhost" if config.host in LOOPBACK else config.host)
    conf = files.prepare(config, port, enrolment, now, getpass.getuser())
    command = [mosquitto, "-c", str(conf)]
    broker = _start("mosquitto", command, config.host, port, directory)
    broker.url = f"mqtts://{(*config.names, files.host)[0]}:{port}"
    broker.files = files

    def restart() -> subprocess.Popen[bytes]:
        started = _start("mosquitto", command, config.host, port, directory).process
        assert started is not None
        return started

    broker.restart = restart
    return broker


def find_mosquitto() -> str | None:
    """Path of a Mosquitto, looked for on PATH and where packages put it."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(MOSQUITTO_PLACES))


def free_port() -> int:
    """A free TCP port below the ephemeral range."""
    for port in range(20_000 + time.time_ns() % 10_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise WorldError(Code.BROKER_UNREACHABLE, "no free port between 20000 and 32000")


def _mosquitto_command(path: str, config: BrokerConfig, port: int, directory: Path) -> list[str]:
    file = directory / "mosquitto.conf"
    text = _MOSQUITTO.format(host=config.host, port=port, directory=directory.resolve())
    file.write_text(text + ("user root\n" if getpass.getuser() == "root" else ""), encoding="utf-8")
    return [path, "-c", str(file)]


def _embedded_command(config: BrokerConfig, port: int, directory: Path, password: str) -> list[str]:
    file = directory / "embedded.toml"
    file.unlink(missing_ok=True)
    text = _EMBEDDED.format(host=config.host, port=port, v4_port=free_port(), password=password)
    write_secret(file, text.encode())
    return [sys.executable, "-I", "-m", "iotcore", "--config", str(file), "--log-level", "CRITICAL"]


def _start(kind: str, command: list[str], host: str, port: int, directory: Path) -> RunningBroker:
    _refuse_taken(host, port)
    with (directory / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(_tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
    broker = RunningBroker(f"mqtt://{host}:{port}", kind, process)
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection((host, port), timeout=0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return broker
    broker.stop()
    raise WorldError(Code.BROKER_UNREACHABLE, f"{kind} does not come up on {host}:{port}; see {directory / kind}.log")


def _tied(command: list[str]) -> list[str]:
    """The command, ended with this process even by SIGKILL. Other systems than Linux have no such order."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise WorldError(
                Code.BROKER_UNREACHABLE,
                f"{host}:{port}: {error.strerror}; set broker.port, or broker.url to what runs there",
            ) from None
