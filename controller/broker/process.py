"""The broker: started by the controller as a child (Mosquitto or the embedded one), or any MQTT 5 broker elsewhere.

Decides the configuration, start and end of a broker that the controller starts. Refuses to know topics.
"""

import getpass
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import BadInput, Code, EdgewardError, WorldError
from controller.broker.configurations import (
    USER,
    embedded_command,
    free_port,
    has_password,
    mosquitto_command,
    password_of,
)
from controller.broker.mutual_tls import BrokerFiles
from controller.broker.taken_ports import refuse_taken
from controller.config import BrokerConfig
from controller.trust.enrolment import Enrolment

START_S = 15.0
RELOAD_S = 2.0
LOOPBACK = ("127.0.0.1", "0.0.0.0", "localhost")  # noqa: S104 - a wildcard, compared with
"""Names by which this machine reaches its own broker as localhost."""
STOP_S = 5.0
RESTART_MIN_S, RESTART_MAX_S = 1.0, 30.0
"""Seconds between attempts to restart a broker that has ended: doubled each time, as agents' reconnects are."""
STEADY_S = 60.0
"""Seconds after which a running broker resets the delay to its minimum."""
MAX_SET_ASIDE = 3
"""The most damaged databases that are kept for people who look for the cause. Each holds at most the retained state of
a fleet."""
MOSQUITTO_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

_log = logging.getLogger("edgeward.broker")

_TIED = """\
import ctypes, os, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(parent):
    sys.exit("the controller has gone")
os.execv(command[0], command)
"""
"""A program that becomes the broker, after it has asked Linux for SIGTERM (15) when the thread that started it ends
(PR_SET_PDEATHSIG, 1).

A separate program, because Python warns of code between fork and exec in a process with threads.
"""

ANOTHER_PORT = (
    "choose another with --broker-port (0: a free one) or broker.port, or use the broker that runs there: "
    "--broker mqtt://HOST:PORT"
)
NO_BROKER = (
    "no broker to start: install Mosquitto (apt-get install mosquitto), or for a first try pip install "
    "'edgeward[embedded]', or set broker.url to a broker that runs"
)
NO_ACCESS_CONTROL = (
    "devices have certificates, or broker.tls = true asks for them: that needs Mosquitto (apt-get install mosquitto), "
    "since the embedded broker has no access control. broker.tls = false gives all devices one password"
)
NOT_ENROLLED = (
    "devices of an earlier start share one password, so the broker asks for that and for no certificate; "
    "enrol them, then set broker.tls = true"
)
EMBEDDED_LIMITS = (
    "embedded broker: for one machine and small fleets; one password for everybody, so any device can read and write "
    "every topic and fill the broker's memory (signed documents still hold, reports of enrolled devices too); no TLS; "
    "nothing survives its restart (the controller publishes again), at most 100 retained messages to one QoS 1 "
    "subscription"
)


@dataclass
class RunningBroker:
    """A broker to connect to. `process` is None for a broker that was not started here."""

    url: str
    kind: str
    process: subprocess.Popen[bytes] | None = None
    files: BrokerFiles | None = None
    """The files of a broker under mutual TLS."""
    restart: Callable[[], subprocess.Popen[bytes]] | None = None
    fault: str = ""
    """Why a broker that was started here does not run; empty while it does."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False
    _started_at: float = 0.0
    _restart_at: float = 0.0
    _restart_s: float = RESTART_MIN_S

    @property
    def shown(self) -> str:
        """The broker's address without a password."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return urlsplit(self.url).port or 0

    def tend(self, now: float) -> bool:
        """Restarts a broker that has ended by itself; returns whether `fault` has changed. `now` is monotonic seconds.

        It waits before each attempt, twice as long as before the last one.
        """
        with self._lock:
            if self.process is None or self.restart is None or self._stopped:
                return False
            before = self.fault
            if self.process.poll() is None:
                return False
            if not before:
                self._noticed(now)
            elif now >= self._restart_at:
                self._try_restart(now)
            return self.fault != before

    def _noticed(self, now: float) -> None:
        assert self.process is not None
        if now - self._started_at > STEADY_S:
            self._restart_s = RESTART_MIN_S
        self._wait(now, f"it ended with status {self.process.returncode}")

    def _try_restart(self, now: float) -> None:
        assert self.restart is not None
        try:
            self.process = self.restart()
        except EdgewardError as error:
            self._wait(now, error.detail)
            return
        self.fault, self._started_at = "", now
        _log.warning("%s runs again; the controller publishes what it must hold", self.kind)

    def _wait(self, now: float, words: str) -> None:
        self.fault, self._restart_at = f"{words}; starting it again", now + self._restart_s
        _log.error("%s: %s in %.0f s", self.kind, self.fault, self._restart_s)
        self._restart_s = min(2 * self._restart_s, RESTART_MAX_S)

    def reload(self) -> bool:
        """Makes a broker under mutual TLS read its revocation list again; False if it had to be restarted for that.

        After a failed reload everybody is accepted. So a certificate that is always revoked must be refused afterwards.
        """
        with self._lock:
            return self._reload()

    def _reload(self) -> bool:
        if self.files is None or self.process is None or self.restart is None or self.process.poll() is not None:
            return True
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + RELOAD_S
        while time.monotonic() < until:
            if not self.files.lets_in(self.port):
                return True
            time.sleep(0.1)
        _log.error("after a reload the broker lets a revoked certificate in: starting it again")
        self._end()
        self.process = self.restart()
        return False

    def show_new_certificate(self) -> bool:
        """Makes a broker under mutual TLS show a new certificate; False if it had to be restarted for that.

        Sessions survive a reload, but not a restart.
        """
        with self._lock:
            if self.files is None or self.process is None or self.restart is None:
                return True
            reloaded = self._reload()
            until = time.monotonic() + RELOAD_S
            while reloaded and time.monotonic() < until:
                if self.files.shows_its_newest(self.port):
                    return True
                time.sleep(0.1)
            if reloaded:
                _log.error("after a reload the broker shows its old certificate: starting it again")
                self._end()
                self.process = self.restart()
            return False

    def start_again(self) -> None:
        """Restarts a broker under mutual TLS, which a change of authorities requires (docs/adr/0004)."""
        with self._lock:
            if self.process is not None and self.restart is not None and not self._stopped:
                self._end()
                self.process = self.restart()

    def stop(self) -> None:
        """Ends a broker that was started here, permanently."""
        with self._lock:
            self._stopped = True
            self._end()

    def _end(self) -> None:
        if self.process is not None:
            _end_process(self.process)


def start_broker(
    config: BrokerConfig, directory: Path, access: tuple[Enrolment, datetime] | None = None
) -> RunningBroker:
    """Starts the configured broker, or describes the broker that runs elsewhere.

    BadInput `config_invalid` for an unknown kind; WorldError `port_taken`; `broker_unreachable` if it does
    not start.
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
    if config.url == "embedded":
        mosquitto = None
    if wants_certificates(config, directory, mosquitto, auto=access is not None):
        if mosquitto is None or access is None:
            raise BadInput(Code.CONFIG_INVALID, NO_ACCESS_CONTROL)
        return _start_secure(mosquitto, config, port, directory, enrolment=access[0], now=access[1])
    if find_spec("iotcore") is None and mosquitto is None:
        raise BadInput(Code.CONFIG_INVALID, NO_BROKER)
    password = password_of(directory)
    if mosquitto is not None:
        broker = _tended(
            "mosquitto", mosquitto_command(mosquitto, config, port, directory, password), config.host, port, directory
        )
    else:
        _log.warning(EMBEDDED_LIMITS)
        broker = _tended("embedded", embedded_command(config, port, directory, password), config.host, port, directory)
    broker.url = f"mqtt://{USER}:{password}@{config.host}:{port}"
    return broker


def wants_certificates(config: BrokerConfig, directory: Path, mosquitto: str | None, *, auto: bool) -> bool:
    """Returns whether clients must show certificates. `auto` keeps the choice of an earlier start."""
    if config.tls != "auto":
        return config.tls
    if not auto or (directory / "tls").exists():
        return auto
    if not has_password(directory):
        return mosquitto is not None
    if mosquitto is not None:
        _log.warning(NOT_ENROLLED)
    return False


def _start_secure(
    mosquitto: str, config: BrokerConfig, port: int, directory: Path, *, enrolment: Enrolment, now: datetime
) -> RunningBroker:
    files = BrokerFiles(directory / "tls", "localhost" if config.host in LOOPBACK else config.host, config.topics)
    conf = files.prepare(config, port, enrolment, now, getpass.getuser())
    command = [mosquitto, "-c", str(conf)]
    broker = _tended("mosquitto", command, config.host, port, directory)
    broker.url = f"mqtts://{(*config.names, files.host)[0]}:{port}"
    broker.files = files
    return broker


def find_mosquitto() -> str | None:
    """Returns the path of Mosquitto, on PATH or where packages install it."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(MOSQUITTO_PLACES))


def _tended(kind: str, command: list[str], host: str, port: int, directory: Path) -> RunningBroker:
    """Returns a broker that can be started again in the same way."""

    def start() -> subprocess.Popen[bytes]:
        return _start_over_damage(kind, command, host, port, directory)

    broker = RunningBroker(f"mqtt://{host}:{port}", kind, start(), restart=start)
    broker._started_at = time.monotonic()
    return broker


def _start_over_damage(kind: str, command: list[str], host: str, port: int, directory: Path) -> subprocess.Popen[bytes]:
    """Starts a broker. If a damaged database prevents that, starts it without the database, and the controller
    publishes again.
    """
    try:
        return _start(kind, command, host, port, directory)
    except BrokerEndedError as error:
        database = next((path for path in _databases(directory) if path.exists()), None)
        if database is None:
            raise
        aside = database.with_name(f"{database.name}.bad-{time.time_ns()}")
        database.replace(aside)
        try:
            process = _start(kind, command, host, port, directory)
        except WorldError:
            aside.replace(database)  # the database was not the cause
            raise error from None
    _log.error("the broker's database was damaged and is now %s; what it must hold is published again", aside)
    for old in sorted(database.parent.glob(f"{database.name}.bad-*"))[:-MAX_SET_ASIDE]:
        old.unlink()
    return process


def _databases(directory: Path) -> tuple[Path, ...]:
    return directory / "mosquitto.db", directory / "tls" / "data" / "mosquitto.db"


class BrokerEndedError(WorldError):
    """A broker has ended during its start."""


def _start(kind: str, command: list[str], host: str, port: int, directory: Path) -> subprocess.Popen[bytes]:
    refuse_taken(host, port, ANOTHER_PORT, own=directory)
    with (directory / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(_tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection((host, port), timeout=0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    ended = process.poll() is not None
    _end_process(process)
    words = f"{kind} does not come up on {host}:{port}; see {directory / kind}.log"
    raise (BrokerEndedError if ended else WorldError)(Code.BROKER_UNREACHABLE, words)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tied(command: list[str]) -> list[str]:
    """Returns the command, so that it ends together with this process, even by SIGKILL. Only Linux can do this."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]
