"""The shell of the device: decodes and routes all that arrives. The daemon and the simulator both run this class.

Decides which model, document or queue a stimulus concerns, and when the device sends messages. Decides nothing
about updates: `core` does, and `models.stepper` performs its commands. Refuses to know threads, sockets and clocks:
`now` is monotonic seconds, handed in.
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from agent.core import machine
from agent.core.admission import told
from agent.core.events import DesiredWithdrawn, DirectorChanged, ModelBroken, ModelReady, TimerFired
from agent.core.model import Record
from agent.flash.boot_record import BootRecord
from agent.flash.store import Store
from agent.models.candidates import Asked
from agent.models.device_model import DeviceModel
from agent.models.stepper import Stepper
from agent.ports import Link, ProbeReport, Runtime
from agent.stimuli import (
    CandidateProbed,
    ExpiriesRead,
    Identity,
    Intervals,
    LinkDown,
    LinkUp,
    LookedInto,
    MessageArrived,
    ProbeEnded,
    SourceFailed,
    Stimulus,
    Woke,
)
from agent.tuner import Cadence, Tuner
from agent.uplink.captures import Captures
from agent.uplink.erasing import Erasing
from agent.uplink.faults import Faults, set_aside
from agent.uplink.reporter import Reporter
from contract import topics
from contract.errors import EdgewardError, WorldError
from contract.messages import MAX_INTERVALS, Ack, ConfigState
from contract.remote_config import RemoteConfig
from contract.trust.verified import Trusted
from contract.wire import decode

if TYPE_CHECKING:
    from agent.trust.documents import Documents, Found

BOOT, WAITING, UNHEARD, CONFIG = "the record of the boot", "what a document waits for", "the key", "remote config"
NEVER = ConfigState()
"""The key of a fault that belongs to no topic."""

_log = logging.getLogger("edgeward.agent")


class Agent:
    """One device. Call `boot` once: confirmed versions serve. Then `take_up_trust` once, before any message;
    then `receive` for every stimulus and whenever the time `wake_at` has come.
    """

    def __init__(
        self,
        identity: Identity,
        intervals: Intervals,
        *,
        store: Store,
        link: Link,
        runtime: Runtime,
        stepper: Stepper,
        reporter: Reporter,
        captures: Captures | None,
        asked: Asked,
        tuner: Tuner,
        wall_clock: Callable[[], datetime],
        dropped: Counter[str],
    ) -> None:
        self._identity, self._intervals = identity, intervals
        self._store, self._link, self._runtime = store, link, runtime
        self._stepper, self._reporter = stepper, reporter
        self._captures, self._erasing = captures, Erasing(captures)
        self._asked, self._tuner = asked, tuner
        self._wall_clock = wall_clock
        self.dropped = dropped
        self._faults = Faults()
        """What is wrong with this device now, for the heartbeat."""
        self._read_expiries: dict[str, int] = {}
        self._documents: Documents | None = None
        self._boot = BootRecord(store)
        stepper.before_save = self._make_boot_durable
        self._pruned = False
        """Whether remains of a power cut were deleted. They are deleted only after a document, which may need some
        of them.
        """
        self._linked_at = self._booted_at = self._heartbeat_at = self._telemetry_at = self._judge_at = 0.0
        self._telemetry_since = self._cpu_s = self._swap_rss_mb = 0.0
        self._bytes_received = 0

    @property
    def models(self) -> dict[str, DeviceModel]:
        """The models that this device knows, by name."""
        return self._stepper.models

    @property
    def expiries(self) -> dict[str, int]:
        """The times at which certificates and roles of the device expire, in seconds since 1970; from any thread."""
        roles = self._documents.expiries() if self._documents is not None else {}
        return {**self._read_expiries, **roles}

    @property
    def link(self) -> tuple[bool, float]:
        """Whether the link is up, and since when, in seconds on the clock of `now`; from any thread."""
        return self._reporter.online, self._linked_at

    def boot(self, now: float) -> None:
        """Resumes from flash. If the disk cannot even hold the boot counter, confirmed versions still serve, but
        nothing is saved and no trial begins until it can.
        """
        records, corrupt = self._store.load_records()
        damaged = self._boot.load()
        self._try_boot_durable(now)
        self._linked_at = self._booted_at = self._telemetry_since = now
        self._tuner.boot(now)
        self._telemetry_at = now + self._every("telemetry_s")
        for name in (*corrupt, *(("the device",) if damaged else ())):
            self._reporter.refuse(set_aside(name), now)
        for name, record in sorted(records.items()):
            self._stepper.add(name, record)
        for name in sorted(records):
            self._stepper.resume(name, now)

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with this device now, by code; from any thread."""
        return self._faults.by_code()

    def kept_trust(self) -> Trusted | None:
        """Returns the metadata that was verified before and is on flash; None on a new disk."""
        return self._store.load_trusted()[0]

    def _make_boot_durable(self) -> None:
        """Makes the record of this boot durable if it is not. WorldError `disk_full`, `disk_failed`."""
        if self._boot.save():
            self._faults.over(BOOT)

    def _try_boot_durable(self, now: float) -> None:
        try:
            self._make_boot_durable()
        except WorldError as error:
            self._boot.failed(now)
            self._refuse(BOOT, error, now)

    def take_up_trust(self, given: Trusted, now: float) -> None:
        """Accepts documents from here on, based on the metadata verified before, or on a new disk on the root `given`.

        Separate from `boot`, with a late import: the imports of python-tuf and cryptography take 48 ms.
        """
        from agent.trust.documents import Documents

        self._documents = Documents(
            self._identity,
            given,
            store=self._store,
            link=self._link,
            record=self._boot.loaded,
            wall_clock=self._wall_clock,
        )
        documents = self._documents
        self._boot.newest = lambda: documents.record
        if self._documents.damaged:
            self._reporter.refuse(set_aside("trust"), now)

    def receive(self, stimulus: Stimulus, now: float) -> None:
        """Handles one stimulus. Never raises for bad data from outside: faults are reported and counted."""
        match stimulus:
            case LinkUp(broker_expires):
                self._read_expiries.update({"broker": broker_expires} if broker_expires else {})
                self._link_up(now)
            case ExpiriesRead(expiries):
                self._read_expiries.update(expiries)
                self._faults.over(UNHEARD)  # after a renewal with another key, until the next such report
            case LinkDown():
                self._reporter.online, self._linked_at = False, now
                if self._captures is not None:
                    self._captures.link_down(now)
            case MessageArrived(topic, payload):
                self._bytes_received += len(payload)
                self._message(topic, payload, now)
            case SourceFailed(source, _):
                self._stepper.source_failed(source, now)
            case ProbeEnded(name, report):
                self._probe_ended(name, report, now)
            case LookedInto() | CandidateProbed():
                self._asked.found(stimulus)
            case Woke():
                pass
        self._tick(now)

    def wake_at(self) -> float:
        """Returns when `Woke` is due at the latest, on the clock of `now`."""
        due = min(self._heartbeat_at, self._telemetry_at, self._reporter.wake_at(), self._asked.candidates.wake_at())
        if self._documents is not None:
            due = min(due, self._documents.wake_at())
        if self._captures is not None:
            due = min(due, self._captures.wake_at())
        due = min(due, self._stepper.retry_at(), self._boot.retry_at, self._tuner.wake_at())
        for model in self.models.values():
            due = min(due, model.wake_at(online=self._reporter.online))
            if model.in_trial and self._judge_at < due:
                due = self._judge_at
        return due

    def _link_up(self, now: float) -> None:
        self._linked_at = now
        documents = self._documents.topics(self.models) if self._documents is not None else []
        device = self._identity.device
        self._link.subscribe([*documents, topics.ack(device), topics.inquiry(device)])
        self._reporter.link_up(now)
        if self._captures is not None:
            self._captures.link_up(now)
        self._heartbeat(now)
        for name, download in self._stepper.downloads():
            self._stepper.step(name, download.link_up(now), now)
        self._asked.candidates.link_up(now)

    def _message(self, topic: str, payload: bytes, now: float) -> None:
        try:
            if blob := topics.parse_blob(topic):
                self._blob(*blob, payload, now)
            elif not payload and topics.is_document(topic):
                self.dropped["documents_removed"] += not self._faults.note_removed(topic, self._identity.device)
            elif topic == topics.ack(self._identity.device):
                self._acknowledged(decode(payload, Ack), now)
            elif self._documents is not None and topic == topics.inquiry(self._identity.device):
                self._asked.take(self._documents.read_inquiry(payload), self._wall_clock().timestamp(), now)
            elif self._documents is not None and (found := self._documents.receive(topic, payload, now)) is not None:
                self._faults.over(topic)
                self._take(found, now)
            else:
                self.dropped["messages_foreign"] += 1
        except EdgewardError as error:
            if topics.is_document(topic):
                self._faults.note(topic, error)
            self._reporter.refuse(error, now)

    def _refuse(self, what: str, error: EdgewardError, now: float) -> None:
        """Reports a fault, and repeats it in heartbeats until `what` (a topic, the boot) succeeds."""
        self._faults.note(what, error)
        self._reporter.refuse(error, now)

    def _acknowledged(self, ack: Ack, now: float) -> None:
        if ack.agreement is not None:
            self._reporter.agree(ack.agreement)
            return
        if not ack.heard:
            if ack.boot == self._reporter.boot:
                self._faults.note_unheard(UNHEARD)
            return
        self._faults.over(UNHEARD)
        if self._captures is None or not self._captures.acknowledged(ack):
            self._reporter.acknowledged(ack)

    @property
    def unheard(self) -> bool:
        """Whether the controller says that it does not know this device's key; from any thread."""
        return UNHEARD in self._faults

    def _take(self, found: "Found", now: float) -> None:
        """Steps the models that a document concerns: withdrawals first, then assignments, then refusals."""
        if found.new_director:
            self._begin_numbering(now)
        for name in sorted(set(self.models) & set(found.withdrawn)):
            self._stepper.step(name, DesiredWithdrawn(found.withdrawn[name]), now)
        for assignment in found.admitted:
            self._stepper.add(assignment.model, Record())
            self._stepper.step(assignment.model, told(assignment, self._identity.pinned), now)
        for error in found.refused:
            self._refuse(WAITING, error, now)
        if not found.refused and (found.is_desired or found.admitted):
            self._faults.over(WAITING)
        if found.config is not None:
            self._configure(found.config, now)
        if found.is_desired and self._erasing.take(found.erasures):
            self._heartbeat_at = now
        if found.is_desired and not self._pruned:
            self._pruned = True
            self._stepper.prune(now)

    def _configure(self, wanted: RemoteConfig, now: float) -> None:
        """Tries a remote configuration. If the disk cannot record it, that is a fault, which the next document ends."""
        try:
            self._tuner.desired(wanted, now)
        except WorldError as error:
            self._refuse(CONFIG, error, now)
            return
        self._faults.over(CONFIG)
        self._heartbeat_at = min(self._heartbeat_at, now + self._every("heartbeat_s"))

    def _every(self, name: Cadence) -> float:
        """Returns an interval in seconds: that of the remote configuration, or the device's own."""
        return self._tuner.interval(name) or float(getattr(self._intervals, name))

    def _begin_numbering(self, now: float) -> None:
        assert self._documents is not None
        for name in sorted(self.models):
            self._stepper.step(name, DirectorChanged(), now)
        self._documents.begin_numbering()

    def _blob(self, digest: str, index: int | None, payload: bytes, now: float) -> None:
        for name, download in self._stepper.downloads():
            if download.wants(digest):
                self._stepper.step(name, download.receive(digest, index, payload, now), now)
                return
        if self._asked.candidates.wants(digest):
            self._asked.candidates.receive(digest, index, payload, now)
        else:
            self.dropped["chunks_foreign"] += 1

    def _probe_ended(self, name: str, report: ProbeReport, now: float) -> None:
        model = self.models[name]
        measured = (report.load_ms, report.latency_ms, report.memory_mb)
        _log.info("probe of %s: %s, load %.1f ms, row %.3f ms, %.0f MB", name, report.code or "ready", *measured)
        model.lineup.probed(report)
        if report.code:
            self._stepper.step(name, ModelBroken(report.digest, report.code, report.detail), now)
        else:
            self._stepper.step(name, ModelReady(report.digest), now)

    def _tick(self, now: float) -> None:
        if self._documents is not None and (found := self._documents.tick(now)) is not None:
            self._take(found, now)
        self._reporter.tick(now)
        if now >= self._boot.retry_at:
            self._try_boot_durable(now)
        if self._captures is not None:
            self._captures.tick(now, self._reporter.number, transfers=self._stepper.transfers)
        self._asked.candidates.tick(now)
        self._stepper.retry(now)
        self._tuner.tick(0.0 if self._reporter.online else now - self._linked_at, now)
        for name, model in self.models.items():
            self._tick_model(name, model, now)
        if now >= self._judge_at:
            self._judge_at = now + self._intervals.judge_s
        if now >= self._heartbeat_at:
            self._heartbeat(now)
        if now >= self._telemetry_at:
            self._telemetry(now)

    def _tick_model(self, name: str, model: DeviceModel, now: float) -> None:
        if model.drop_drained(now):
            self._runtime.trim()
            self._swap_rss_mb = self._runtime.usage().rss_mb - model.rss_mb_before
        if model.download is not None and (self._reporter.online or not model.download.needs_link):
            self._stepper.step(name, model.download.tick(now), now)
        model.run_shadow(now)
        if now >= self._judge_at:
            model.slot.keep_answers()
            for release, code, words in model.take_faults():
                _log.warning("%s v%d: %s: %s", name, release, code, words)
        if model.in_trial and now >= self._judge_at:
            self._stepper.step(name, model.judge(), now)
        if (due := machine.deadline(model.state)) is not None and now >= due:
            self._stepper.step(name, TimerFired(), now)
        self._stepper.step(name, model.probe_golden(now), now)

    def _heartbeat(self, now: float) -> None:
        self._erasing.try_again()
        self._heartbeat_at = now + self._every("heartbeat_s")
        for name, model in self.models.items():
            self._stepper.step(name, model.prove(now), now)
            self._stepper.step(name, model.probe_golden(now), now)
        states = tuple(model.message() for _, model in sorted(self.models.items()))
        identity, uptime_s, date = self._identity, now - self._booted_at, self._wall_clock()
        clock = self._documents.clock_fault(date) if self._documents else None
        self._faults.look(self._stepper.disk_fault, clock, self._stepper.probe_fault(now))
        at, faults = max(0, int(date.timestamp())), self._faults.by_code()
        config = None if self._tuner.state == NEVER else self._tuner.state
        self._reporter.heartbeat(
            self._runtime.hardware(), identity, states, uptime_s, self.expiries,
            at=at, faults=faults, config=config, erased=self._erasing.done,
        )  # fmt: skip

    def _telemetry(self, now: float) -> None:
        self._telemetry_at = now + self._every("telemetry_s")
        intervals = [interval for name in sorted(self.models) for interval in self.models[name].take_intervals()]
        for name in sorted(self.models):
            intervals += self.models[name].take_labels(MAX_INTERVALS - len(intervals))
        usage = self._runtime.usage()
        self._reporter.telemetry(
            tuple(intervals), usage, interval_s=now - self._telemetry_since, cpu_s=usage.cpu_s - self._cpu_s,
            stall_ms=max((model.stall_ms for model in self.models.values()), default=0.0),
            swap_rss_mb=self._swap_rss_mb, received=self._bytes_received,
        )  # fmt: skip
        self._cpu_s, self._telemetry_since = usage.cpu_s, now
