"""The agent as a process: an inbox, one worker that owns the Agent, a thread per sensor, and signals.

Decides which adapters are used and when the process begins, waits and ends. `assembly` puts the parts together; refuses
to know updates and health.
"""

import gc
import logging
import os
import platform
import queue
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.configured import LateSigner, new_blob_server, new_connection, new_server, open_source
from agent.adapters.directory_lock import lock_directory
from agent.adapters.kept_lives import KeptLives
from agent.adapters.late_link import LateLink
from agent.adapters.log_lines import LogLines, secrets_of
from agent.adapters.looks import Doctor, Looks, no_doctor
from agent.adapters.posix_disk import PosixDisk, make_private
from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.adapters.runtime.session_settings import Budget
from agent.assembly import Assembly, Ports
from agent.config import Config
from agent.ports import Lives
from agent.serving.slot import ModelSlot
from agent.stimuli import ExpiriesRead, Identity, LinkUp, MessageArrived, Stimulus, Woke
from agent.uplink.redaction import Redactor
from contract.blobs import Blob
from contract.errors import BadInput, Code, EdgewardError
from contract.remote_config import RemoteConfig

if TYPE_CHECKING:
    from agent.adapters.configured import Connection
    from agent.adapters.feedback_topics import FeedbackTopics
    from agent.adapters.http.server import HttpServer
    from agent.adapters.renewer import Renewer
    from agent.adapters.sensors.pipelines import Pipelines
    from agent.config import Broker
    from agent.models.device_model import DeviceModel
    from agent.serving.metrics import Facts, ModelFacts
    from contract.trust.verified import Trusted

INBOX_SIZE = 256
"""The most stimuli that wait for the worker; a full inbox delays the network thread, and with it the broker."""
WATCHDOG_S = 5.0
"""Seconds between two checks that the network thread is alive."""
CONNECT_MIN_S, CONNECT_MAX_S = 1.0, 60.0
"""Seconds between attempts to load trust and connect, doubled each time: a person must restore a missing file."""
COLLECT_AFTER = 10_000
"""The number of objects, as the collector counts them, between two searches for cycles. There are few cycles.
Python's own 700 means a search every 1,000 requests, of 0.1 to 1 ms in which every request waits."""
HOLD_FILE = "hold-updates"
"""While a file of this name is in the state directory, no new version is swapped in. Any program may create it."""

_log = logging.getLogger("edgeward.agent")
_EDGEWARD_LOG = logging.getLogger("edgeward")


class Daemon:
    """One agent process. WorldError `disk_failed` if another one uses the state directory."""

    def __init__(self, config: Config, config_path: Path, doctor: Doctor = no_doctor) -> None:
        self._config = config
        self._config_path = config_path
        self._state_dir = Path(config.device.state_dir)
        self._boot = secrets.randbelow(2**53) + 1
        self._inbox: queue.Queue[Stimulus] = queue.Queue(INBOX_SIZE)
        self._stop = threading.Event()
        self._holders: list[None] = []
        """One entry for each holder: appending and popping are atomic, which `+= 1` is not."""
        disk = PosixDisk(self._state_dir)
        make_private(self._state_dir)
        self._lock_file = lock_directory(self._state_dir)
        self._link = LateLink()
        redact = Redactor(secrets_of(config))
        self._log_lines = LogLines(redact)
        _EDGEWARD_LOG.addHandler(self._log_lines)
        self._looks = Looks(self._log_lines, doctor, redact, self._inbox.put)
        self._connection: Connection | None = None
        self._renewer: Renewer | None = None
        self._sign = LateSigner(config) if config.broker.key_file else None
        self._connect_at, self._connect_s = 0.0, CONNECT_MIN_S
        self.fault: EdgewardError | None = None
        """Why no connection can be made; None while nothing is wrong. An unreachable broker is no fault."""
        self._pipelines: Pipelines | None = None
        self._feedback: FeedbackTopics | None = None
        self._kept_lives = KeptLives(self._state_dir)
        self._blob_server = new_blob_server(config.transfer.serve_at, self._confirmed_blob)
        serving = config.serving
        budget = Budget(serving.model_threads, serving.providers)
        self._runtime = OnnxRuntime(serving.memory_mb, serving.worker_deadline_s, budget)
        self._server: HttpServer | None = None
        self._paused: frozenset[str] = frozenset()
        """Sensors that a remote configuration has paused."""
        self._device = Assembly(config, self._identity(), self._ports(disk))
        self._agent = self._device.agent
        self._server = self._new_server()

    def _identity(self) -> Identity:
        config = self._config
        return Identity(
            config.device.name,
            platform.machine(),
            dict(config.device.labels),
            nonce=os.urandom(16).hex() if config.trust.fresh else "",
            sign=self._sign,
            code=self._sign.code if self._sign is not None else None,
            serve_at=self._blob_server.address if self._blob_server is not None else "",
            pinned={pin.model: pin.release for pin in config.pin},
        )

    def _ports(self, disk: PosixDisk) -> Ports:
        return Ports(
            disk=disk,
            link=self._link,
            runtime=self._runtime,
            enqueue=self._inbox.put,
            wall_clock=lambda: datetime.now(UTC),
            local_clock=datetime.now,
            perf_s=time.perf_counter,
            new_lock=threading.Lock,
            random=random.random,
            boot=self._boot,
            holds=self._holds_updates,
            open_source=lambda address: open_source(address, self._inbox.put, self._config.broker.ca_file),
            lives=self._lives,
            look=self._looks.begin,
            tune=self._tune,
            tune_fault=self._tune_fault,
            answers_disk=lambda: PosixDisk(self._state_dir / "answers"),
            captures_disk=lambda: PosixDisk(self._state_dir / "captured"),
        )

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())
        self.start()
        try:
            self._connect()
            gc.freeze()  # modules are never freed: a full collection with them would delay every request by 13 ms
            gc.set_threshold(COLLECT_AFTER)
            self.work()
        finally:
            self.close()

    def stop(self) -> None:
        """Ends `work`."""
        self._stop.set()

    def start(self) -> None:
        """Resumes from flash. Confirmed versions serve when this returns, with or without a link."""
        self._agent.boot(time.monotonic())
        if self._server is not None:
            self._server.start()

    def _connect(self) -> None:
        """Starts the sensors, loads trust and connects. What fails is kept in `fault` and tried again later.

        Separate from `start`, with late imports: it takes 65 ms, and a first answer need not wait for it.
        """
        try:
            self._start_sensors()
            self._take_up_connection()
        except (EdgewardError, OSError) as error:
            self.fault = BadInput(Code.CONFIG_INVALID, str(error)) if isinstance(error, OSError) else error
            self._connect_at = time.monotonic() + self._connect_s
            _log.error("no link to the controller, trying again in %.0f s: %s", self._connect_s, self.fault)
            self._connect_s = min(2 * self._connect_s, CONNECT_MAX_S)
        else:
            self.fault = None

    def _start_sensors(self) -> None:
        from agent.adapters.feedback_topics import FeedbackTopics
        from agent.adapters.sensors.pipelines import Pipelines

        if self._feedback is None:
            device = self._device
            self._feedback = FeedbackTopics(
                self._config.feedback,
                link=self._link,
                dropped=device.dropped,
                slots=lambda: device.slots,
                find=device.slot_that_answered,
            )
        if self._pipelines is None:
            self._pipelines = Pipelines(
                self._config, self._config_path, link=self._link, dropped=self._device.dropped, slot=self.slot
            )
            self._pipelines.paused = self._paused

    def _root(self) -> "Trusted":
        """Returns the root of trust. An unreadable one is an error on a new disk only: otherwise flash holds newer
        metadata.
        """
        from agent.trust.credentials import load_root

        try:
            return load_root(self._config, self._config_path)
        except BadInput as error:
            if (kept := self._agent.kept_trust()) is None:
                raise
            _log.error("%s; going on with the trust that was verified before", error.detail)
            return kept

    def _take_up_connection(self) -> None:
        broker = self._config.broker
        if self._sign is not None:
            self._sign.renewed()
        if broker.cert_file:
            broker = self._take_up_pair()
        given = self._root()
        connection = new_connection(broker, self._config.device.name, self._boot, self._deliver, self._device.dropped)
        self._agent.take_up_trust(given, time.monotonic())
        self._connection = connection
        self._link.begin(connection)
        connection.start()
        if self._blob_server is not None:
            self._blob_server.start()
        _log.info("device %s is up, state in %s", self._config.device.name, self._state_dir)

    def _take_up_pair(self) -> "Broker":
        """Returns the broker with the key pair in use, and starts the renewal of that pair, also without a
        connection.
        """
        from agent.adapters.renewer import Renewer, broker_by, expiries_of, open_pairs

        pairs = open_pairs(self._config)
        if self._renewer is None and self._config.enrolment.url:
            self._renewer = Renewer(self._config, pairs, self._renewed)
        self._inbox.put(ExpiriesRead(expiries_of(self._config, pairs)))
        return broker_by(self._config, pairs)

    def _renewed(self, broker: "Broker") -> None:
        """Continues with the new pair, in the renewer's thread: the worker never waits for a network."""
        from agent.adapters.renewer import expiries_of, open_pairs

        if self._sign is not None:
            self._sign.renewed()
        self._inbox.put(ExpiriesRead(expiries_of(self._config, open_pairs(self._config))))
        old = self._connection
        if old is None or not broker.url.startswith("mqtts:"):
            return
        new = new_connection(broker, self._config.device.name, self._boot, self._deliver, self._device.dropped)
        self._connection = new
        self._link.begin(new)
        old.hand_over()
        new.start()

    def work(self) -> None:
        """Connects, repeatedly if that fails, and handles stimuli until `stop`."""
        watchdog_at = time.monotonic() + WATCHDOG_S
        while not self._stop.is_set():
            if self._connection is None and time.monotonic() >= self._connect_at:
                self._connect()
            self._receive(self._next())
            if self._renewer is not None:
                self._renewer.tick(time.monotonic(), unheard=self._agent.unheard)
            if time.monotonic() >= watchdog_at:
                self._kept_lives.keep(self._lives(), time.monotonic(), time.time(), self._agent.faults)
            if self._connection is not None and time.monotonic() >= watchdog_at:
                self._connection.revive()
                watchdog_at = time.monotonic() + WATCHDOG_S

    def _next(self) -> Stimulus:
        pause_s = max(0.0, min(self._agent.wake_at() - time.monotonic(), 0.5))
        try:
            return self._inbox.get(timeout=pause_s) if pause_s else self._inbox.get_nowait()
        except queue.Empty:
            return Woke()

    def close(self) -> None:
        """Ends the threads and unlocks the state directory."""
        if self._pipelines is not None:
            self._pipelines.close()
        if self._connection is not None:
            self._connection.stop()
        if self._blob_server is not None:
            self._blob_server.stop()
        if self._server is not None:
            self._server.stop()
        for slot in self._device.slots.values():
            slot.keep_answers()
        self._lock_file.close()
        _EDGEWARD_LOG.removeHandler(self._log_lines)
        _log.info("device %s has stopped", self._config.device.name)

    def _receive(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, LinkUp) and self._pipelines is not None and self._feedback is not None:
            self._pipelines.subscribe()
            self._feedback.subscribe()
        try:
            self._agent.receive(stimulus, time.monotonic())
        except Exception:  # a fault of the agent must not stop inference in the other threads
            self._device.dropped["internal_errors"] += 1
            _log.exception("a fault of the agent at %s", type(stimulus).__name__)

    def _deliver(self, stimulus: Stimulus) -> None:
        if not isinstance(stimulus, MessageArrived) or not self._is_taken(stimulus.topic, stimulus.payload):
            self._inbox.put(stimulus)

    def _is_taken(self, topic: str, payload: bytes) -> bool:
        """Gives a message to the sensor or the feedback whose topic it is, in the network thread. Returns whether there
        is one.
        """
        rows, feedback = self._pipelines, self._feedback
        return (rows is not None and rows.take(topic, payload)) or (
            feedback is not None and feedback.take(topic, payload)
        )

    @contextmanager
    def hold_updates(self) -> Iterator[None]:
        """Prevents swaps while the context lasts, up to each version's `max_hold_s`."""
        self._holders.append(None)
        try:
            yield
        finally:
            self._holders.pop()

    def _tune(self, wanted: RemoteConfig | None) -> None:
        """Applies a remote configuration to sensors and to the limits of serving; None means the device's own."""
        self._paused = frozenset(wanted.paused_sensors) if wanted is not None else frozenset()
        if self._pipelines is not None:
            self._pipelines.paused = self._paused
        if self._server is not None:
            self._server.limit(wanted.max_connections if wanted else None, wanted.max_body_bytes if wanted else None)

    def _tune_fault(self) -> str:
        return self._server.fault() if self._server is not None else ""

    def _holds_updates(self) -> bool:
        return bool(self._holders) or (self._state_dir / HOLD_FILE).exists()

    def _lives(self) -> Lives:
        return self._pipelines.lives() if self._pipelines is not None else ((), ())

    def slot(self, name: str) -> ModelSlot:
        """Returns the slot of a model, even before the device knows the model; from any thread."""
        return self._device.slot(name)

    def slot_that_answered(self, answer: str) -> ModelSlot:
        """Returns the slot of the model that gave an answer, by its id. BadInput `answer_unknown`."""
        return self._device.slot_that_answered(answer)

    def _confirmed_blob(self, digest: str) -> tuple[Blob, str] | None:
        return self._device.confirmed_blob(digest)

    def _new_server(self) -> "HttpServer | None":
        device, config = self._device, self._config.serving
        if not config.listen:
            return None
        name = self._config.device.name
        return new_server(config, lambda: device.slots, facts=self._facts, dropped=device.dropped, device=name)

    def _facts(self) -> "Facts":
        """The facts of `/metrics` that are not in the slots."""
        from agent.adapters.process_facts import process_facts
        from agent.serving.metrics import Facts

        online, since = self._agent.link
        hardware = self._runtime.hardware()
        return Facts(
            counters=self._device.dropped.copy(),
            expiries=self._agent.expiries,
            models={name: _model_facts(model) for name, model in list(self._agent.models.items())},
            link=(online, max(0.0, time.monotonic() - since)),
            lives=self._lives(),
            process=process_facts(),
            build={"version": hardware.agent, "python": hardware.python, "onnxruntime": hardware.onnxruntime},
        )


def _model_facts(model: "DeviceModel") -> "ModelFacts":
    from agent.serving.metrics import ModelFacts

    stable = model.state.record.stable
    digest = stable.digest if stable is not None else ""
    loaded = (("stable" if each.assignment.digest == digest else "trial", each) for each in model.lineup.loaded)
    return ModelFacts(model.phase, tuple(loaded))
