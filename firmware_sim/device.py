"""One simulated device: the real Agent on simulated flash and a simulated link, in virtual time, with a sensor.

Decides the order of stimuli. Writes a history of changes for checkers. Refuses to judge it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from threading import Lock
from typing import NoReturn

from agent.agent import Agent
from agent.assembly import Assembly, Ports
from agent.config import Config, IntervalsConfig, TransferConfig
from agent.config import Device as Named
from agent.core.model import Record
from agent.flash.store import MAX_RECORD_BYTES
from agent.ports import Runtime
from agent.stimuli import Identity, Intervals, LinkDown, LinkUp, LookedInto, MessageArrived, Stimulus, Woke
from contract.errors import BadInput
from contract.trust.verified import Trusted
from contract.wire import decode
from firmware_sim.clock import Clock, stream
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import TRUSTED, WORLD_BEGAN
from firmware_sim.models import SimModel, SimRuntime
from firmware_sim.network import SimLink
from firmware_sim.power import PowerCut, ProcessKilled
from firmware_sim.sensors import Signal, SimSensor
from firmware_sim.tuned import Tuned

MODEL = "m"
_RECORD = f"record-{MODEL}"
REBOOT_S = 5.0
MAX_STIMULI = 100_000
"""A device that receives more stimuli has an endless loop."""
_PATIENT = Intervals(heartbeat_s=30.0, telemetry_s=30.0, judge_s=1.0)


RuntimeMaker = Callable[[tuple[SimModel, ...], Callable[[str], bytes], Callable[[float], None]], Runtime]


@dataclass(frozen=True, slots=True)
class Moment:
    """The version that a device serves and its record, from this time on. A change of either makes a new entry."""

    at: float
    boots: int
    raw_record: bytes
    serving: str
    missing: tuple[str, ...] = ()
    """Blobs that the record on flash names and flash does not hold; looked for when power returns."""
    card: int = 0
    """The number of cards before this one: data of one card do not count for the next."""

    @property
    def record(self) -> Record:
        """The record on flash."""
        return decode_record(self.raw_record)


@dataclass(frozen=True, slots=True)
class Habits:
    """The settings of a simulated device: intervals, labels, flash, time zone."""

    intervals: Intervals = _PATIENT
    sample_every_s: float = 0.5
    labels: tuple[tuple[str, str], ...] = ()
    flash_operation_s: float = 0.0
    utc_offset_h: float = 0.0


class Device:
    """One device. It boots, runs, loses power, and boots again."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        flash: Flash,
        link: SimLink,
        models: tuple[SimModel, ...],
        trusted: Trusted = TRUSTED,
        habits: Habits = Habits(),
        sensor: SimSensor | None = None,
        new_runtime: RuntimeMaker = SimRuntime,
    ) -> None:
        self.name = name
        self.flash = flash
        self.link = link
        self.boots = 0
        self.history: list[Moment] = []
        self.nonce = ""
        """The nonce that its documents must contain; empty: none."""
        self.clock_ahead_s = 0.0
        """Seconds by which its date is ahead of the world's."""
        self.boot_id = 0
        """The number of its newest start, as it reports it."""
        self.tuned = Tuned(flash)
        self.crashes_on = ""
        """While the device serves this digest, it loses power at the next row."""
        self.faulty: Callable[[], bool] = lambda: True
        """Returns whether behaviours other than good still apply. All faults end before a world is judged."""
        self._clock = clock
        self._models = models
        self._trusted = trusted
        self._habits = habits
        self._sensor = sensor or SimSensor(Signal(), stream(0, name))
        self._new_runtime = new_runtime
        self._deadly = {model.manifest.artifact.sha256 for model in models if model.behaviour == "leaks_memory"}
        self._row_at = 0.0
        self._agent: Agent | None = None
        self._epoch = 0
        self._wake_at = self._due_at = float("inf")
        """The time at which it is woken next, and the time that it has requested, which may be later."""
        self._inbox: list[Stimulus] = []
        self._busy = False
        self._idle_at = 0.0
        self._spent_s = 0.0
        self._stimuli = 0
        self._noted = 0
        """The number of flash operations at the last check of the history."""
        self._card = 0
        self._power = _Power(self)

    @property
    def record(self) -> Record:
        """Returns the record on flash. Reading it counts as no operation."""
        return decode_record(self._raw_record())

    @property
    def serving(self) -> str:
        """The digest of the version that answers now."""
        model = self._agent.models.get(MODEL) if self._agent is not None else None
        serving = model.slot.serving if model is not None else None
        return serving.assignment.digest if serving is not None else ""

    @property
    def powered(self) -> bool:
        """Tells whether the device has power and runs."""
        return self._agent is not None

    @property
    def dropped(self) -> dict[str, int]:
        """Counters of dropped messages and rows since the last boot."""
        return dict(self._agent.dropped) if self._agent else {}

    def boot(self) -> None:
        """Power returns: the device boots."""
        self._epoch += 1
        self.boots += 1
        self._inbox.clear()
        self._note(look_for_blobs=True)
        with self._power:
            agent = self._new_agent()
            agent.boot(self._clock.now)
            agent.take_up_trust(self._trusted, self._clock.now)
            self._agent = agent
            self._note()
            self.link.attach(self)
            self._row_at = self._clock.now + self._habits.sample_every_s
            self._after()

    def link_up(self) -> None:
        """The connection to the broker begins."""
        self._take(LinkUp())

    def link_down(self) -> None:
        """The connection to the broker is lost."""
        if self._agent is not None:
            self._take(LinkDown())

    def message(self, topic: str, payload: bytes) -> None:
        """A message from the broker arrives."""
        self._take(MessageArrived(topic, payload))

    def cut_power(self) -> None:
        """Power fails now. It returns after REBOOT_S."""
        self._epoch += 1
        self._agent = None
        self.link.detach()
        self.flash.lose_power()
        self._clock.after(REBOOT_S, self.boot)

    def change_card(self, files: dict[str, bytes]) -> None:
        """Makes its next starts run from a card with these files."""
        self.switch_off()
        self.flash.load(files)
        self._card += 1
        self._noted = -1
        self._clock.after(REBOOT_S, self.boot)

    def switch_off(self) -> None:
        """Switches the device off permanently."""
        self._epoch += 1
        self._agent = None
        self.link.detach()

    def _restart(self) -> None:
        """The process ends and starts again after REBOOT_S. Flash and the kernel's cache of it stay."""
        self._epoch += 1
        self._agent = None
        self.link.detach()
        self._clock.after(REBOOT_S, self.boot)

    def _take(self, stimulus: Stimulus) -> None:
        self._inbox.append(stimulus)
        if self._busy or self._agent is None:
            return
        if self._clock.now < self._idle_at:
            self._clock.at(self._idle_at, self._drain_in, self._epoch)
            return
        self._drain()

    def _drain_in(self, epoch: int) -> None:
        if epoch == self._epoch:
            self._drain()

    def _drain(self) -> None:
        if self._busy or self._agent is None:
            return
        operations = self.flash.power.operations
        with self._power:
            self._busy = True
            self._answer_rows()
            while self._inbox and self._agent is not None:
                self._stimuli += 1
                assert self._stimuli < MAX_STIMULI, f"{self.name} never comes to rest"
                self._agent.receive(self._inbox.pop(0), self._clock.now)
            self._after()
        done = self.flash.power.operations - operations
        self._idle_at = self._clock.now + done * self._habits.flash_operation_s

    def _after(self) -> None:
        self._note()
        assert self._agent is not None
        self._due_at = max(self._agent.wake_at(), self._clock.now + 0.001)
        if self._due_at < self._wake_at or self._wake_at <= self._clock.now:
            self._wake_at = self._due_at
            self._clock.at(self._wake_at, self._wake, self._epoch)
        if self.crashes_on or self._deadly:
            self._watch_deadly_row()

    def _wake(self, epoch: int) -> None:
        if epoch != self._epoch or self._clock.now < self._wake_at:
            return
        if self._due_at > self._clock.now:
            self._wake_at = self._due_at
            self._clock.at(self._wake_at, self._wake, epoch)
            return
        self._wake_at = float("inf")
        self._take(Woke())

    def _answer_rows(self) -> None:
        """Answers all rows that are due. Nothing changes between stimuli, so rows need no separate events."""
        now = self._clock.now
        if self._row_at > now or self._agent is None:
            return
        every_s, faulty = self._habits.sample_every_s, self.faulty()
        model = self._agent.models.get(MODEL)
        while self._row_at <= now:
            row = self._sensor.row(self._row_at, faulty=faulty)
            self._row_at += every_s
            if row is None or model is None or (serving := model.slot.serving) is None:
                continue
            if faulty and serving.assignment.digest == self.crashes_on:
                raise PowerCut
            try:
                model.slot.predict(row)
            except BadInput:
                continue  # the slot has counted it, and health judges these counts

    def _watch_deadly_row(self) -> None:
        """Makes a model that ends the process do so when its row is due, and not at the next stimulus."""
        serving = self.serving
        if serving and (serving == self.crashes_on or serving in self._deadly):
            self._clock.at(self._row_at, self._drain_in, self._epoch)

    def _next_boot_id(self) -> int:
        """Returns the number of this start, derived from the name and the count of starts."""
        return int.from_bytes(hashlib.sha256(f"{self.name} {self.boots}".encode()).digest()[:6]) + 1

    def _new_agent(self) -> Agent:
        clock = self._clock
        self.boot_id = self.link.boot = self._next_boot_id()

        def enqueue(stimulus: Stimulus) -> None:
            epoch = self._epoch
            clock.after(0.5, lambda: self._take(stimulus) if epoch == self._epoch else None)

        ports = Ports(
            disk=self.flash,
            link=self.link,
            runtime=self._new_runtime(self._models, self.flash.read, self._spend),
            enqueue=enqueue,
            wall_clock=lambda: WORLD_BEGAN + timedelta(seconds=clock.now + self.clock_ahead_s),
            local_clock=lambda: (
                WORLD_BEGAN + timedelta(seconds=clock.now + self.clock_ahead_s, hours=self._habits.utc_offset_h)
            ),
            perf_s=lambda: clock.now + self._spent_s,
            new_lock=Lock,
            random=_no_randomness,
            boot=self.boot_id,
            tune=self.tuned.apply,
            tune_fault=lambda: self.tuned.fault,
            look=lambda inquiry: enqueue(LookedInto(inquiry.id, (f"{inquiry.what} of {self.name}",))),
        )
        self._agent = None
        self._wake_at = float("inf")
        identity = Identity(self.name, "sim", dict(self._habits.labels), self.nonce)
        return Assembly(_configuration(self.name, self._habits.intervals), identity, ports).agent

    def _spend(self, seconds: float) -> None:
        self._spent_s += seconds

    def _raw_record(self) -> bytes:
        return self.flash.read(_RECORD) if self.flash.has(_RECORD) else b""

    def _is_whole(self, digest: str) -> bool:
        name = f"blob-{digest}"
        return self.flash.has(name) and hashlib.sha256(self.flash.read(name)).hexdigest() == digest

    def _note(self, *, look_for_blobs: bool = False) -> None:
        operations, serving = self.flash.power.operations, self.serving
        if not look_for_blobs and operations == self._noted and serving is self.history[-1].serving:
            return
        self._noted, raw = operations, self._raw_record()
        if look_for_blobs:
            record = decode_record(raw)
            kept = (each for each in (record.stable, record.trial) if each is not None)
            blobs = (blob for each in kept for blob in each.blobs)
            missing = tuple(blob.sha256[:12] for blob in blobs if not self._is_whole(blob.sha256))
            self.history.append(Moment(self._clock.now, self.boots, raw, serving, missing, self._card))
            return
        last = self.history[-1]
        if (raw is not last.raw_record and raw != last.raw_record) or serving != last.serving:
            self.history.append(Moment(self._clock.now, self.boots, raw, serving, card=self._card))


class _Power:
    """A context around an act of the device: a power cut inside it ends the act and begins the outage."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._device._busy = False
        if kind is not None and issubclass(kind, PowerCut):
            self._device.cut_power()
            return True
        if kind is not None and issubclass(kind, ProcessKilled):
            self._device._restart()
            return True
        return False


@lru_cache(maxsize=8_192)
def _configuration(name: str, intervals: Intervals) -> Config:
    """Returns the configuration of a device.

    Unused blobs are deleted at once, because checkers look for left-over blobs.
    """
    speaks = IntervalsConfig(
        heartbeat_s=intervals.heartbeat_s, telemetry_s=intervals.telemetry_s, judge_s=intervals.judge_s
    )
    return Config(device=Named(name=name), intervals=speaks, transfer=TransferConfig(keep_mb=0))


def _no_randomness() -> NoReturn:
    raise AssertionError("a simulated device captures no rows, and nothing else on it is random")


@lru_cache(maxsize=8_192)
def decode_record(raw: bytes) -> Record:
    """Returns the record in a file's bytes; an empty record for a damaged file, which the agent must detect."""
    try:
        return decode(raw.partition(b"\n")[2], Record, max_bytes=MAX_RECORD_BYTES)
    except BadInput:
        return Record()
