"""One simulated device: the real Agent on simulated flash, a broker of one, virtual time, a sensor that ticks.

Decides the order of stimuli. Writes a history that checkers read. Refuses to judge it.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.agent import Agent, Identity, Intervals, LinkUp, MessageArrived, Stimulus, Woke
from agent.core.model import Assignment, Record
from agent.device_model import DeviceModel
from agent.download import Download
from agent.model_slot import ModelSlot
from agent.ports import Sample
from agent.store import MAX_RECORD_BYTES, Store
from contract.errors import BadInput
from contract.trust import anchor_of
from contract.wire import decode
from firmware_sim.flash import Flash
from firmware_sim.models import SIGNER, SimModel, SimRuntime
from firmware_sim.power import PowerCut

NAME = "device-1"
STEP_S = 0.01
SAMPLE_EVERY_S = 0.5
REBOOT_S = 5.0
TODAY = datetime(2026, 1, 1, tzinfo=UTC)
MAX_STIMULI = 100_000
"""A scenario that needs more has a loop in it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the device serves and remembers at a moment: the history's entries."""

    at: float
    boots: int
    record: Record
    serving: str
    missing: tuple[str, ...] = ()
    """Blobs that the record on flash names and flash does not hold; looked for when power returns."""


class Broker:
    """Retained messages and one subscriber."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.published: list[tuple[str, bytes]] = []

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep a message for subscribers."""
        self.retained[topic] = payload


class SimLink:
    """The Link port to a Broker in the same process."""

    def __init__(self, broker: Broker, inbox: deque[Stimulus]) -> None:
        self._broker = broker
        self._inbox = inbox
        self.topics: set[str] = set()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Hand to the broker."""
        self._broker.published.append((topic, payload))

    def subscribe(self, topics: Sequence[str]) -> None:
        """Retained messages follow at once."""
        self.topics.update(topics)
        for topic in topics:
            if topic in self._broker.retained:
                self._inbox.append(MessageArrived(topic, self._broker.retained[topic]))

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """End subscriptions."""
        self.topics.difference_update(topics)


class Device:
    """Boots, lives, loses power, boots again. `crash_boots` makes the device lose power so often in a trial."""

    def __init__(self, flash: Flash, broker: Broker, models: tuple[SimModel, ...]) -> None:
        self.flash = flash
        self.broker = broker
        self.models = models
        self.now = 0.0
        self.boots = 0
        self.history: list[Moment] = []
        self.crashes_on = ""
        self._boot_at = 0.0
        self._raw_record = b""
        self._record = Record()
        self._agent: Agent | None = None
        self._inbox: deque[Stimulus] = deque()
        self._link = SimLink(broker, self._inbox)
        self._stimuli = 0

    @property
    def record(self) -> Record:
        """The record on flash, decoded only when its bytes have changed."""
        raw = self.flash.read("record-m") if "record-m" in self.flash.names() else b""
        if raw != self._raw_record:
            self._raw_record = raw
            self._record = _decoded(raw)
        return self._record

    @property
    def serving(self) -> str:
        """Digest that answers now."""
        model = self._agent.models.get("m") if self._agent else None
        return model.slot.serving.assignment.digest if model and model.slot.serving else ""

    def offer(self, topic: str, payload: bytes) -> None:
        """The controller publishes a retained message."""
        self.broker.retain(topic, payload)
        if topic in self._link.topics and self._agent is not None:
            self._inbox.append(MessageArrived(topic, payload))

    def run(self, until: float) -> None:
        """Live until a virtual time, through any number of power cuts."""
        while self.now < until:
            try:
                self._live(until)
            except PowerCut:
                self._lose_power()

    def _live(self, until: float) -> None:
        if self._agent is None:
            self._boot()
        agent = self._agent
        assert agent is not None
        while self.now < until:
            self._stimuli += 1
            assert self._stimuli < MAX_STIMULI, "the device never comes to rest"
            if self._inbox:
                self.now += STEP_S
                agent.receive(self._inbox.popleft(), self.now)
            else:
                self.now = min(until, max(self.now + STEP_S, min(agent.wake_at(), self.now + SAMPLE_EVERY_S)))
                agent.receive(Woke(), self.now)
                self._sample(agent)
            self._note()

    def _boot(self) -> None:
        self.now = max(self.now, self._boot_at)
        self.boots += 1
        self._inbox.clear()
        self._link = link = SimLink(self.broker, self._inbox)
        store = Store(self.flash)
        runtime = SimRuntime(self.models, self.flash.read)

        def new_download(assignment: Assignment) -> Download:
            return Download(assignment, store=store, link=link, drop=lambda _: None)

        def new_model(name: str) -> DeviceModel:
            slot = ModelSlot(name, perf_s=lambda: self.now, lock=nullcontext())
            return DeviceModel(name, slot, runtime, store, new_download)

        self._agent = None
        self._note(look_for_blobs=True)
        agent = Agent(
            Identity(NAME, "sim", anchor_of(SIGNER), {}),
            Intervals(heartbeat_s=30.0, telemetry_s=30.0, judge_s=1.0),
            store=store,
            link=link,
            runtime=runtime,
            wall_clock=lambda: TODAY,
            enqueue=self._inbox.append,
            new_model=new_model,
        )
        agent.boot(self.now)
        self._agent = agent
        self._note()
        self._inbox.append(LinkUp())

    def _sample(self, agent: Agent) -> None:
        model = agent.models.get("m")
        if model is None or model.slot.serving is None:
            return
        if model.slot.serving.assignment.digest == self.crashes_on:
            raise PowerCut
        with suppress(BadInput):  # counted by the slot: that is what health judges
            model.slot.predict(Sample({"x": 1.0}, label=1))

    def _note(self, *, look_for_blobs: bool = False) -> None:
        there = set(self.flash.names()) if look_for_blobs else set()
        named = self.record.kept_digests if look_for_blobs else ()
        missing = tuple(digest[:12] for digest in named if f"blob-{digest}" not in there)
        self.history.append(Moment(self.now, self.boots, self.record, self.serving, missing))

    def _lose_power(self) -> None:
        self.flash.lose_power()
        self._agent = None
        self._boot_at = self.now + REBOOT_S


def _decoded(raw: bytes) -> Record:
    """Looking must not touch the flash: a record that is damaged is left for the agent to find."""
    try:
        return decode(raw.partition(b"\n")[2], Record, max_bytes=MAX_RECORD_BYTES)
    except BadInput:
        return Record()
