"""Puts the parts of one device together, from ports that are handed in. The daemon and the simulator both call it.

Decides which part gets which other parts. Refuses to know which ports are real: it imports no adapter and reads no
clock.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.agent import Agent
from agent.config import Capture, Config, check_allowed
from agent.core.model import Assignment
from agent.flash.answer_log import AnswerLog
from agent.flash.spool import Spool
from agent.flash.store import Store
from agent.models.candidates import Asked, Candidates
from agent.models.device_model import DeviceModel
from agent.models.golden_probes import GoldenProbes, ProbeSchedule
from agent.models.stepper import Stepper
from agent.ports import Disk, Link, Lives, Runtime
from agent.serving.capture import Capturer
from agent.serving.kept_answers import KeptAnswers
from agent.serving.lineup import Lineup
from agent.serving.slot import ModelSlot
from agent.stimuli import Identity, Intervals, Stimulus
from agent.transfer.carriers import Carriers, OpenSource
from agent.transfer.download import Download, Pace
from agent.tuner import Tuner
from agent.uplink.captures import Captures
from agent.uplink.inquiries import Inquiries, Replies
from agent.uplink.reporter import Reporter
from contract.blobs import Blob
from contract.errors import BadInput, Code
from contract.inquiries import Inquiry
from contract.maintenance import wait_s
from contract.names import unit_number
from contract.remote_config import RemoteConfig


@dataclass(frozen=True, slots=True)
class Ports:
    """The surroundings of a device: disk, link, runtime, clocks, locks and randomness."""

    disk: Disk
    link: Link
    runtime: Runtime
    enqueue: Callable[[Stimulus], None]
    """Passes a stimulus to the thread that owns the agent, from any thread."""
    wall_clock: Callable[[], datetime]
    """The date, in UTC."""
    local_clock: Callable[[], datetime]
    """The date in the device's own time zone, for maintenance hours."""
    perf_s: Callable[[], float]
    """Monotonic seconds with the finest resolution, for latencies."""
    new_lock: Callable[[], Any]
    """A new lock, as a context manager."""
    random: Callable[[], float]
    """Numbers in [0, 1), for the choice of captured rows."""
    boot: int
    """A random number for this start of the agent, from 1 to 2**53: messages are ordered by it, not by clocks."""
    holds: Callable[[], bool] = bool
    """Whether an application requests that no version is swapped now."""
    open_source: OpenSource | None = None
    """Opens a source of chunks by its address; None if only the broker brings chunks."""
    lives: Callable[[], Lives] = lambda: ((), ())
    """Returns the counts and states of sensors and sinks, from any thread."""
    look: Callable[[Inquiry], None] = lambda _: None
    """Begins to answer an inquiry; the result comes as `LookedInto`."""
    tune: Callable[[RemoteConfig | None], None] = lambda _: None
    """Applies all of a remote configuration except the intervals; None means the device's own. BadInput if it is
    not allowed here."""
    tune_fault: Callable[[], str] = str
    """Returns in words what is broken now besides models; empty if nothing is broken."""
    answers_disk: Callable[[], Disk] | None = None
    """Opens the directory of answers that wait for a label; None if no answers are kept after the process ends."""
    captures_disk: Callable[[], Disk] | None = None
    """Opens the directory of captured rows; called only if the configuration captures any."""


class Assembly:
    """The parts of one device that other code reads: its agent, its slots and its store. Nothing runs yet."""

    def __init__(self, config: Config, identity: Identity, ports: Ports) -> None:
        self._config = config
        self._ports = ports
        self.dropped: Counter[str] = Counter()
        """What limits discarded since the process started, by kind."""
        self.slots: dict[str, ModelSlot] = {}
        """Slots by model. For a new model the dict is replaced and never modified, because other threads read it."""
        self._slots_lock = ports.new_lock()
        self._store = Store(ports.disk, config.transfer.keep_mb << 20)
        stick = (config.broker.url,) if config.broker.url.startswith("file:") else ()
        self._carriers = Carriers(ports.link, ports.open_source, (*stick, *config.transfer.sources))
        hours, local_clock = config.transfer.hours, ports.local_clock
        spread = unit_number(identity.device)
        golden = config.golden
        self._probe_schedule = ProbeSchedule(golden.interval_s, golden.hot_c, spread, ports.holds)
        self._pace = Pace(config.transfer.max_bytes_s, lambda: wait_s(hours, local_clock()), spread)
        self._capturers = {policy.model: self._new_capturer(policy) for policy in config.capture}
        self.agent = self._new_agent(identity)

    def slot(self, name: str) -> ModelSlot:
        """Returns the slot of a model, even before the device knows the model; from any thread."""
        with self._slots_lock:
            if name not in self.slots:
                lock = self._ports.new_lock()
                perf_s, prefix = self._ports.perf_s, f"{self._ports.boot:x}-{len(self.slots):x}-"
                made = ModelSlot(
                    name,
                    perf_s=perf_s,
                    lock=lock,
                    dropped=self.dropped,
                    prefix=prefix,
                    new_lock=self._ports.new_lock,
                    kept_answers=self._kept_answers(name),
                )
                if (capturer := self._capturers.get(name)) is not None:
                    made.watchers, made.private = (capturer,), capturer.removed
                    capturer.note_captured, made.truth.follow = made.note_captured, capturer.take_label
                self.slots = {**self.slots, name: made}
            return self.slots[name]

    def slot_that_answered(self, answer: str) -> ModelSlot:
        """Returns the slot of the model that gave an answer, by the answer's id; from any thread.

        BadInput `answer_unknown` for an id that no model of this device gave, or that is no longer known.
        """
        for slot in self.slots.values():
            if slot.gave(answer):
                return slot
        raise BadInput(Code.ANSWER_UNKNOWN, f"no answer {answer[:64]!r} of a model on this device is known")

    def confirmed_blob(self, digest: str) -> tuple[Blob, str] | None:
        """Returns a blob of a stable version and the path of its file; None if no such digest is known. From any
        thread.
        """
        stable = (model.state.record.stable for model in list(self.agent.models.values()))
        blobs = (blob for assignment in stable if assignment is not None for blob in assignment.blobs)
        found = next((blob for blob in blobs if blob.sha256 == digest), None)
        return None if found is None else (found, self._store.path(found))

    def _kept_answers(self, model: str) -> KeptAnswers | None:
        ports, most = self._ports, self._config.feedback.kept_bytes
        if ports.answers_disk is None or not most:
            return None
        clock = ports.wall_clock
        return KeptAnswers(
            AnswerLog(ports.answers_disk(), model, most),
            clock=lambda: clock().timestamp(),
            perf_s=ports.perf_s,
            dropped=self.dropped,
        )

    def _new_agent(self, identity: Identity) -> Agent:
        ports, intervals = self._ports, self._config.intervals
        reporter = Reporter(
            identity.device,
            ports.boot,
            ports.link,
            self.dropped,
            identity.sign,
            code=identity.code,
            lives=ports.lives,
        )
        stepper = Stepper(
            store=self._store,
            runtime=ports.runtime,
            reporter=reporter,
            new_model=self._new_model,
            enqueue=ports.enqueue,
            local_clock=ports.local_clock,
            holds=ports.holds,
            dropped=self.dropped,
        )
        return Agent(
            identity,
            Intervals(intervals.heartbeat_s, intervals.telemetry_s, intervals.judge_s),
            store=self._store,
            link=ports.link,
            runtime=ports.runtime,
            stepper=stepper,
            reporter=reporter,
            captures=self._new_captures(identity) if self._capturers else None,
            asked=self._new_asked(identity, stepper, reporter),
            tuner=Tuner(
                self._store,
                apply=self._tune,
                fault=ports.tune_fault,
                serving=lambda: frozenset(name for name, slot in self.slots.items() if slot.serving is not None),
            ),
            wall_clock=ports.wall_clock,
            dropped=self.dropped,
        )

    def _new_asked(self, identity: Identity, stepper: Stepper, reporter: Reporter) -> Asked:
        ports = self._ports
        replies = Replies(identity.device, ports.link, reporter.number, identity.sign)
        candidates = Candidates(
            replies,
            store=self._store,
            runtime=ports.runtime,
            new_download=self._new_download,
            enqueue=ports.enqueue,
            is_busy=lambda: stepper.is_busy,
            kept=lambda: stepper.kept_digests,
            probes_per_h=self._config.serving.probes_per_h,
        )
        return Asked(Inquiries(replies, look=ports.look, dropped=self.dropped), candidates)

    def _tune(self, wanted: RemoteConfig | None) -> None:
        """Checks that the device's own file allows it, then applies it. BadInput `config_invalid`."""
        if wanted is not None:
            check_allowed(wanted, self._config)
        for model, capturer in self._capturers.items():
            capturer.choose_by(wanted.capture.get(model) if wanted is not None else None)
        self._ports.tune(wanted)

    def _new_model(self, name: str) -> DeviceModel:
        slot, ports = self.slot(name), self._ports
        lineup = Lineup(slot, ports.runtime, self._store, self.dropped)
        probes = GoldenProbes(
            ports.runtime,
            self._probe_schedule,
            read=lineup.golden,
            perf_s=ports.perf_s,
            date_s=lambda: ports.wall_clock().timestamp(),
        )
        return DeviceModel(name, slot, ports.runtime, lineup, self._new_download, probes)

    def _new_download(self, assignment: Assignment) -> Download:
        carriers = self._carriers
        return Download(assignment, store=self._store, carriers=carriers, drop=self._drop, pace=self._pace)

    def _new_capturer(self, policy: Capture) -> Capturer:
        clock = self._ports.wall_clock
        return Capturer(policy, random=self._ports.random, clock=lambda: clock().timestamp(), dropped=self.dropped)

    def _new_captures(self, identity: Identity) -> Captures:
        assert self._ports.captures_disk is not None, "a device that captures rows has a directory for them"
        return Captures(
            identity.device,
            Spool(self._ports.captures_disk(), self._config.spool.max_bytes),
            self._ports.link,
            batch_s=self._config.spool.batch_s,
            queues=lambda: [capturer.waiting for capturer in self._capturers.values()],
            labels=lambda: [capturer.labels for capturer in self._capturers.values()],
            dropped=self.dropped,
            sign=identity.sign,
        )

    def _drop(self, what: str) -> None:
        self.dropped[what] += 1
