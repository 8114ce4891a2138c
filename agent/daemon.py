"""The agent as a process: an inbox, one worker that owns the Agent, a thread per sensor, and signals.

Picks the real adapters. Decides nothing about updates or health.
"""

import fcntl
import logging
import platform
import queue
import secrets
import signal
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.onnx_runtime import OnnxRuntime
from agent.adapters.paho_link import PahoLink
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.sensors import TopicQueue, from_stdin, replay
from agent.adapters.sinks import SinkThread
from agent.agent import Agent
from agent.config import Config, ReplaySensor, Sink, StdinSensor, TopicSensor, load_root, load_signer
from agent.core.model import Assignment
from agent.device_model import DeviceModel
from agent.download import Download
from agent.ports import Sample
from agent.serving.pipeline import run_pipeline
from agent.serving.slot import ModelSlot
from agent.stimuli import Identity, Intervals, LinkUp, MessageArrived, Stimulus, Woke
from agent.store import Store
from contract.errors import BadInput, Code, WorldError
from contract.protocol import VERSION

if TYPE_CHECKING:
    from agent.adapters.http_server import HttpServer

INBOX_SIZE = 256
"""Stimuli that wait for the worker; a full inbox holds the network thread, and with it the broker."""
WATCHDOG_S = 5.0

_log = logging.getLogger("edgeward.agent")


class Daemon:
    """One agent process."""

    def __init__(self, config: Config, config_path: Path) -> None:
        self._config = config
        self._config_path = config_path
        self._state_dir = Path(config.device.state_dir)
        self._inbox: queue.Queue[Stimulus] = queue.Queue(INBOX_SIZE)
        self._stop = threading.Event()
        self._runtime = OnnxRuntime()
        self._store = Store(PosixDisk(self._state_dir))
        self._lock_file = lock_state_dir(self._state_dir)
        self._link = PahoLink(config.broker, config.device.name, self._deliver)
        self.slots: dict[str, ModelSlot] = {}
        """Replaced when a model is new, never changed: other threads look at it."""
        self._slots_lock = threading.Lock()
        trusted = load_root(config, config_path)
        identity = Identity(
            config.device.name,
            platform.machine(),
            trusted,
            dict(config.device.labels),
            nonce=secrets.token_hex(16) if config.trust.fresh else "",
            sign=load_signer(config.broker),
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
        )
        self._topics: dict[str, TopicQueue] = {}
        self._sinks: list[SinkThread] = []
        self._server = self._new_server() if config.serving.listen else None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())
        self.start()
        self.work()

    def stop(self) -> None:
        """Let `work` end."""
        self._stop.set()

    def start(self) -> None:
        """Resume from flash: what was confirmed serves when this returns, with or without a link."""
        self._agent.boot(time.monotonic())
        self._start_sensors()
        if self._server is not None:
            self._server.start()
        self._link.start()
        _log.info("device %s is up, state in %s", self._config.device.name, self._state_dir)

    def work(self) -> None:
        """Take stimuli in until `stop`."""
        try:
            self._work()
        finally:
            for sink in self._sinks:
                sink.close()
            self._link.stop()
            if self._server is not None:
                self._server.stop()
            for waiting in self._topics.values():
                waiting.put(None)
            self._lock_file.close()
            _log.info("device %s has stopped", self._config.device.name)

    def _work(self) -> None:
        watchdog_at = time.monotonic() + WATCHDOG_S
        while not self._stop.is_set():
            pause_s = max(0.0, min(self._agent.wake_at() - time.monotonic(), 0.5))
            try:
                stimulus = self._inbox.get(timeout=pause_s) if pause_s else self._inbox.get_nowait()
            except queue.Empty:
                stimulus = Woke()
            if isinstance(stimulus, LinkUp) and self._topics:
                self._link.subscribe(sorted(self._topics))
            self._receive(stimulus)
            if time.monotonic() >= watchdog_at:
                self._link.revive()
                watchdog_at = time.monotonic() + WATCHDOG_S

    def _receive(self, stimulus: Stimulus) -> None:
        try:
            self._agent.receive(stimulus, time.monotonic())
        except Exception:  # a fault of ours must not stop the inference that goes on in the other threads
            self._agent.dropped["internal_errors"] += 1
            _log.exception("could not take in %s", type(stimulus).__name__)

    def _deliver(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, MessageArrived) and stimulus.topic in self._topics:
            self._topics[stimulus.topic].put(stimulus.payload)
        else:
            self._inbox.put(stimulus)

    def _new_model(self, name: str) -> DeviceModel:
        return DeviceModel(name, self.slot(name), self._runtime, self._store, self._new_download)

    def _new_download(self, assignment: Assignment) -> Download:
        return Download(assignment, store=self._store, link=self._link, drop=self._drop)

    def _drop(self, what: str) -> None:
        self._agent.dropped[what] += 1

    def slot(self, name: str) -> ModelSlot:
        """The slot of a model, made at its first mention; from any thread."""
        with self._slots_lock:
            if name not in self.slots:
                made = ModelSlot(name, perf_s=time.perf_counter, lock=threading.Lock())
                self.slots = {**self.slots, name: made}
            return self.slots[name]

    def _new_server(self) -> "HttpServer":
        """Imported here: asyncio and the protocol cost 3 MB and 30 ms, which an agent that does not listen saves."""
        from agent.adapters.http_server import HttpServer
        from agent.serving.oip import Endpoint
        from agent.serving.statistics import Statistics

        statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
        endpoint = Endpoint(
            lambda: self.slots,
            statistics,
            version=VERSION,
            refuse_nan=self._config.serving.refuse_nan,
            counters=self._agent.dropped.copy,
        )
        return HttpServer(endpoint, self._config.serving)

    def _start_sensors(self) -> None:
        for number, sensor in enumerate(self._config.sensor):
            rows = self._rows(sensor)
            thread = threading.Thread(
                target=self._pipeline,
                args=(rows, sensor.model, self._sink(sensor.sink)),
                name=f"sensor-{number}",
                daemon=True,
            )
            thread.start()

    def _rows(self, sensor: ReplaySensor | TopicSensor | StdinSensor) -> Iterable[Sample | BadInput]:
        match sensor:
            case ReplaySensor():
                return replay(sensor, self._config_path, self._stop.wait)
            case StdinSensor():
                return from_stdin(sensor)
            case TopicSensor():
                return self._topics.setdefault(sensor.topic, TopicQueue(sensor, self._agent.dropped))

    def _sink(self, config: Sink | None) -> SinkThread | None:
        if config is None:
            return None
        self._sinks.append(SinkThread(config, self._config_path, self._link, self._agent.dropped))
        return self._sinks[-1]

    def _pipeline(self, rows: Iterable[Sample | BadInput], model: str, sink: SinkThread | None) -> None:
        try:
            run_pipeline(rows, self.slot(model), self._agent.dropped, sink.put if sink is not None else None)
            _log.info("the sensor of %s has ended", model)
        except BadInput as error:
            _log.error("the sensor of %s: %s", model, error)
        except Exception:  # a sensor that breaks must not take the device down
            _log.exception("the sensor of %s broke", model)


def lock_state_dir(state_dir: Path) -> Any:
    """Hold the directory for this process; WorldError `disk_failed` if another agent has it."""
    file = (state_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{state_dir} belongs to another running agent") from None
    return file
