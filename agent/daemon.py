"""The agent as a process: an inbox, one worker that owns the Agent, a thread per sensor, and signals.

Picks the real adapters. Decides nothing about updates or health.
"""

import fcntl
import gc
import logging
import os
import platform
import queue
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.late_link import LateLink
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.agent import Agent
from agent.config import Config, check_share
from agent.core.model import Assignment
from agent.flash.spool import Spool
from agent.flash.store import Store
from agent.models.device_model import DeviceModel
from agent.serving.capture import Capturer
from agent.serving.lineup import Lineup
from agent.serving.slot import ModelSlot
from agent.stimuli import Identity, Intervals, LinkUp, MessageArrived, Stimulus, Woke
from agent.transfer.carriers import Carrier, Carriers
from agent.transfer.download import Download, Pace
from agent.uplink.captures import Capturing
from contract.blobs import Blob
from contract.errors import Code, WorldError
from contract.names import unit_number
from contract.protocol import VERSION
from contract.signatures import Sign
from contract.windows import wait_s

if TYPE_CHECKING:
    from agent.adapters.directory_link import DirectoryLink
    from agent.adapters.http.blob_server import BlobServer
    from agent.adapters.http.server import HttpServer
    from agent.adapters.mqtt.paho_link import PahoLink
    from agent.adapters.sensors.pipelines import Pipelines

INBOX_SIZE = 256
"""Stimuli that wait for the worker; a full inbox holds the network thread, and with it the broker."""
WATCHDOG_S = 5.0
COLLECT_AFTER = 10_000
"""Objects, as the collector counts them, between two looks for cycles, of which there are few: Python's own 700 is a
look every 1,000 requests, 0.1 to 1 ms in which all wait."""
HOLD_FILE = "hold-updates"
"""While a file of this name lies in the state directory nothing new is swapped in: for any program on the device."""

_log = logging.getLogger("edgeward.agent")


class Daemon:
    """One agent process."""

    def __init__(self, config: Config, config_path: Path) -> None:
        self._config = config
        self._config_path = config_path
        self._state_dir = Path(config.device.state_dir)
        self._inbox: queue.Queue[Stimulus] = queue.Queue(INBOX_SIZE)
        self._stop = threading.Event()
        self._runtime = OnnxRuntime(config.serving.memory_mb)
        self._store = Store(PosixDisk(self._state_dir), config.transfer.keep_mb << 20)
        self._dropped: Counter[str] = Counter()
        self._lock_file = lock_state_dir(self._state_dir)
        self._link = LateLink()
        self._connection: PahoLink | DirectoryLink | None = None
        stick = (config.broker.url,) if config.broker.url.startswith("file:") else ()
        self._carriers = Carriers(self._link, self._open_source, (*stick, *config.transfer.sources))
        self.slots: dict[str, ModelSlot] = {}
        """Replaced when a model is new, never changed: other threads look at it."""
        self._slots_lock = threading.Lock()
        self._holders: list[None] = []
        """One entry for each who asks for quiet: appending and popping are atomic, which `+= 1` is not."""
        self._capturers = {
            policy.model: Capturer(policy, random=random.random, clock=time.time, dropped=self._dropped)
            for policy in config.capture
        }
        self._blob_server = self._new_blob_server()
        self._sign = _late_signer(config.broker.key_file) if config.broker.key_file else None
        identity = Identity(
            config.device.name,
            platform.machine(),
            dict(config.device.labels),
            nonce=os.urandom(16).hex() if config.trust.fresh else "",
            sign=self._sign,
            shares=self._blob_server.address if self._blob_server is not None else "",
            pinned={pin.model: pin.release for pin in config.pin},
        )
        intervals = Intervals(config.intervals.heartbeat_s, config.intervals.telemetry_s, config.intervals.judge_s)
        self._agent = Agent(
            identity,
            intervals,
            store=self._store,
            link=self._link,
            runtime=self._runtime,
            wall_clock=lambda: datetime.now(UTC),
            enqueue=self._inbox.put,
            new_model=self._new_model,
            local_clock=datetime.now,
            holds=self._holds_updates,
            dropped=self._dropped,
            new_capturing=self._new_capturing if config.capture else None,
        )
        self._pipelines: Pipelines | None = None
        self._server = self._new_server() if config.serving.listen else None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())
        self.start()
        try:
            connection = self.connect()
            gc.freeze()  # modules stay: a full collection that looked them over would hold every request up for 13 ms
            gc.set_threshold(COLLECT_AFTER)
            self._work(connection)
        finally:
            self.close()

    def stop(self) -> None:
        """Let `work` end."""
        self._stop.set()

    def start(self) -> None:
        """Resume from flash: what was confirmed serves when this returns, with or without a link."""
        self._agent.boot(time.monotonic())
        if self._server is not None:
            self._server.start()

    def connect(self) -> "PahoLink | DirectoryLink":
        """Take up trust and the link, and start the sensors. BadInput `config_invalid`.

        Apart from `start`, and imported here: it takes 65 ms that a first answer need not wait for.
        """
        from agent.adapters.sensors.pipelines import Pipelines
        from agent.trust.credentials import load_root, load_signer

        if key_file := self._config.broker.key_file:
            load_signer(key_file)
        self._agent.take_up_trust(load_root(self._config, self._config_path), time.monotonic())
        self._connection = self._new_connection()
        self._link.begin(self._connection)
        self._pipelines = Pipelines(
            self._config, self._config_path, link=self._link, dropped=self._dropped, slot=self.slot
        )
        self._connection.start()
        if self._blob_server is not None:
            self._blob_server.start()
        _log.info("device %s is up, state in %s", self._config.device.name, self._state_dir)
        return self._connection

    def _new_connection(self) -> "PahoLink | DirectoryLink":
        broker, device = self._config.broker, self._config.device.name
        if broker.url.startswith("file:"):
            from agent.adapters.directory_link import DirectoryLink

            return DirectoryLink(broker.url, device, self._deliver)
        from agent.adapters.mqtt.paho_link import PahoLink

        return PahoLink(broker, device, self._deliver)

    def work(self) -> None:
        """Connect, then take stimuli in until `stop`. BadInput `config_invalid`: what was confirmed serves on."""
        self._work(self.connect())

    def close(self) -> None:
        """End the threads and let go of the state directory."""
        if self._pipelines is not None:
            self._pipelines.close()
        if self._connection is not None:
            self._connection.stop()
        if self._blob_server is not None:
            self._blob_server.stop()
        if self._server is not None:
            self._server.stop()
        self._lock_file.close()
        _log.info("device %s has stopped", self._config.device.name)

    def _work(self, connection: "PahoLink | DirectoryLink") -> None:
        watchdog_at = time.monotonic() + WATCHDOG_S
        while not self._stop.is_set():
            pause_s = max(0.0, min(self._agent.wake_at() - time.monotonic(), 0.5))
            try:
                stimulus = self._inbox.get(timeout=pause_s) if pause_s else self._inbox.get_nowait()
            except queue.Empty:
                stimulus = Woke()
            if isinstance(stimulus, LinkUp) and self._pipelines is not None:
                self._pipelines.subscribe()
            self._receive(stimulus)
            if time.monotonic() >= watchdog_at:
                connection.revive()
                watchdog_at = time.monotonic() + WATCHDOG_S

    def _receive(self, stimulus: Stimulus) -> None:
        try:
            self._agent.receive(stimulus, time.monotonic())
        except Exception:  # a fault of ours must not stop the inference that goes on in the other threads
            self._dropped["internal_errors"] += 1
            _log.exception("could not take in %s", type(stimulus).__name__)

    def _deliver(self, stimulus: Stimulus) -> None:
        rows = self._pipelines
        if rows is None or not isinstance(stimulus, MessageArrived) or not rows.take(stimulus.topic, stimulus.payload):
            self._inbox.put(stimulus)

    @contextmanager
    def hold_updates(self) -> Iterator[None]:
        """Ask that nothing is swapped in while this lasts, up to each version's `max_hold_s`."""
        self._holders.append(None)
        try:
            yield
        finally:
            self._holders.pop()

    def _holds_updates(self) -> bool:
        return bool(self._holders) or (self._state_dir / HOLD_FILE).exists()

    def _new_model(self, name: str) -> DeviceModel:
        slot = self.slot(name)
        lineup = Lineup(slot, self._runtime, self._store, self._dropped)
        return DeviceModel(name, slot, self._runtime, lineup, self._new_download)

    def _new_capturing(self) -> Capturing:
        spool = Spool(PosixDisk(self._state_dir / "captured"), self._config.spool.max_bytes)
        return Capturing(
            self._config.device.name,
            spool,
            self._link,
            batch_s=self._config.spool.batch_s,
            queues=lambda: [capturer.waiting for capturer in self._capturers.values()],
            dropped=self._dropped,
            sign=self._sign,
        )

    def _new_download(self, assignment: Assignment) -> Download:
        hours = self._config.transfer.hours
        pace = Pace(
            self._config.transfer.max_bytes_s,
            lambda: wait_s(hours, datetime.now()),  # noqa: DTZ005 - local
            unit_number(self._config.device.name),
        )
        return Download(assignment, store=self._store, carriers=self._carriers, drop=self._drop, pace=pace)

    def _open_source(self, address: str) -> Carrier:
        from agent.adapters.sources import Source  # most devices have none

        return Source(address, self._inbox.put, self._config.broker.ca_file)

    def _new_blob_server(self) -> "BlobServer | None":
        """An address that is not there yet, or not ours, keeps no model from serving: then nothing is shared."""
        if (address := check_share(self._config.transfer.share)) is None:
            return None
        from agent.adapters.http.blob_server import BlobServer  # most devices share nothing

        try:
            return BlobServer(*address, self._confirmed_blob)
        except OSError as error:
            _log.warning("transfer.share %s: %s; nothing is shared", self._config.transfer.share, error.strerror)
            return None

    def _confirmed_blob(self, digest: str) -> tuple[Blob, str] | None:
        """A blob of a stable version, and its file; from any thread."""
        stable = (model.state.record.stable for model in list(self._agent.models.values()))
        blobs = (blob for assignment in stable if assignment is not None for blob in assignment.blobs)
        found = next((blob for blob in blobs if blob.sha256 == digest), None)
        return None if found is None else (found, self._store.path(found))

    def _drop(self, what: str) -> None:
        self._dropped[what] += 1

    def slot(self, name: str) -> ModelSlot:
        """The slot of a model, made at its first mention; from any thread."""
        with self._slots_lock:
            if name not in self.slots:
                made = ModelSlot(name, perf_s=time.perf_counter, lock=threading.Lock())
                if (capturer := self._capturers.get(name)) is not None:
                    made.watchers = (capturer,)
                self.slots = {**self.slots, name: made}
            return self.slots[name]

    def _new_server(self) -> "HttpServer":
        """Imported here: asyncio and the protocol cost 3 MB and 30 ms, which an agent that does not listen saves."""
        from agent.adapters.http.server import HttpServer
        from agent.serving.oip import Endpoint
        from agent.serving.statistics import Statistics

        statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
        endpoint = Endpoint(
            lambda: self.slots,
            statistics,
            version=VERSION,
            counters=self._dropped.copy,
        )
        return HttpServer(endpoint, self._config.serving)


def _late_signer(key_file: str) -> Sign:
    """Signs with the key of the device's certificate, which is read, and cryptography imported, at first use."""

    @cache
    def signer() -> Sign:
        from agent.trust.credentials import load_signer

        return load_signer(key_file)

    def sign(data: bytes) -> str:
        return signer()(data)

    return sign


def lock_state_dir(state_dir: Path) -> Any:
    """Hold the directory for this process; WorldError `disk_failed` if another agent has it."""
    file = (state_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{state_dir} belongs to another running agent") from None
    return file
