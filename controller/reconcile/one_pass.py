"""One pass of the controller, and its order: durable before published, published before acknowledged.

Decides the order of the steps, for the service and for the simulator. If a write fails, the pass ends, and the next
pass begins with that write. Refuses to know where rows are stored and how messages travel.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import TypeVar

from contract.captured import Captured
from contract.errors import EdgewardError
from contract.messages import Ack, Heartbeat, Report
from contract.wire import encode
from controller.fleet.vitals import Vitals
from controller.reconcile.decisions import Changes, reconcile
from controller.reconcile.deeds import Deed
from controller.reconcile.durable import FleetRecords
from controller.reconcile.fold import fold_captured
from controller.reconcile.ports import Broker, History, Inbox, Listener
from controller.reconcile.series import VerdictPoint
from controller.reconcile.world import World
from controller.telemetry.counts import Counted

T = TypeVar("T")


@dataclass
class Unsaved:
    """Changes that are not durable yet. Most are only names: the values are read from the world when they are
    written.
    """

    redesired: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    rollouts: set[str] = field(default_factory=set)
    restarted: set[str] = field(default_factory=set)
    unpinned: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    captured: list[tuple[str, Captured]] = field(default_factory=list)
    acks: list[tuple[str, Ack]] = field(default_factory=list)
    endings: set[tuple[str, str]] = field(default_factory=set)
    deeds: list[Deed] = field(default_factory=list)
    measured: list[Counted] = field(default_factory=list)
    vitals: list[tuple[str, Vitals]] = field(default_factory=list)
    verdicts: list[VerdictPoint] = field(default_factory=list)
    news: list[VerdictPoint] = field(default_factory=list)
    """Verdicts that have changed, which are announced once they are durable."""

    def take(self, changes: Changes, captured: Iterable[tuple[str, Captured]] = ()) -> None:
        """Adds the changes of a pass, and the (device, batch) of captured inferences that came since the last pass."""
        self.redesired |= changes.redesired
        self.unheard |= changes.unheard
        self.rollouts.update(rollout.id for rollout in changes.rollouts)
        self.restarted |= changes.restarted
        self.unpinned |= changes.unpinned
        self.quarantined |= changes.quarantined
        self.reports += changes.reports
        self.heartbeats.update(changes.heartbeats)
        self.acks += changes.acks
        self.endings |= changes.endings
        self.deeds += changes.deeds
        self.measured += changes.measured
        self.vitals += changes.vitals
        self.verdicts += changes.verdicts
        self.news += [point for point in changes.verdicts if point.is_news]
        for device, batch in captured:
            self.captured.append((device, batch))
            self.acks.append((device, Ack(boot=batch.boot, seq=batch.seq)))


class Passes:
    """The passes of one controller, with the work that one pass leaves to the next."""

    def __init__(
        self, world: World, records: FleetRecords, *, history: History, broker: Broker, listener: Listener
    ) -> None:
        self._world = world
        self._records = records
        self._history = history
        self._broker = broker
        self._listener = listener
        self._unsaved = Unsaved()
        self._unpublished: set[str] = set()
        self._again = False
        """Whether all retained messages must be published again, because a device has not received them."""
        self._unacknowledged: deque[tuple[str, Ack]] = deque()

    async def run(self, inbox: Inbox, now: float) -> None:
        """Folds messages, decides, makes changes durable, publishes, acknowledges. `now` is seconds since 1970.

        WorldError if a write fails. Its changes are then neither published nor acknowledged. The next pass writes them
        before it takes messages, so that the world does not change further while it is not durable.
        """
        self._save(now)
        messages, captured = inbox.take()
        known = [(device, fold_captured(self._world, device, batch, now)) for device, batch in captured]
        self._unsaved.take(reconcile(self._world, messages, now), known)
        self._save(now)
        await self._publish()

    def _save(self, now: float) -> None:
        unsaved, durable = self._unsaved, self._world.durable
        if unsaved == Unsaved():
            return
        if unsaved.deeds:  # first: after a kill in between, a deed is in the audit twice, and never missing there
            self._history.audit(unsaved.deeds)
            unsaved.deeds = []
        devices = unsaved.redesired | unsaved.restarted | unsaved.unpinned
        self._records.save(durable, devices, unsaved.rollouts, unsaved.quarantined, unsaved.endings)
        if unsaved.verdicts:
            self._history.keep_measured([], unsaved.verdicts)
            unsaved.verdicts = []
        self._keep(unsaved.measured, lambda parts: self._history.keep_measured(parts, []), lambda part: part.device)
        unsaved.measured = []
        self._keep(unsaved.vitals, self._history.keep_vitals, itemgetter(0))
        unsaved.vitals = []
        self._keep(unsaved.captured, self._history.keep_captured, itemgetter(0))
        self._record(now)
        self._unsaved = Unsaved()
        self._unpublished |= unsaved.redesired | unsaved.unheard
        self._again |= bool(unsaved.unheard)
        self._unacknowledged.extend(unsaved.acks)
        if unsaved.news:
            self._listener.judged(unsaved.news)
        if unsaved.rollouts:
            self._listener.saved([durable.rollouts[name] for name in sorted(unsaved.rollouts)])

    def _record(self, now: float) -> None:
        """Stores reports and newest heartbeats."""
        at = _stamp(now)

        def record(parts: Sequence[tuple[str, Report | Heartbeat]]) -> None:
            reports = [(device, encode(said).decode()) for device, said in parts if isinstance(said, Report)]
            heartbeats = [(device, encode(said)) for device, said in parts if isinstance(said, Heartbeat)]
            self._history.record(at, reports, heartbeats)

        unsaved = self._unsaved
        said: list[tuple[str, Report | Heartbeat]] = [*unsaved.reports, *unsaved.heartbeats.items()]
        self._keep(said, record, itemgetter(0))
        if unsaved.reports:
            self._listener.reported(unsaved.reports)

    def _keep(self, parts: Sequence[T], keep: Callable[[Sequence[T]], None], device_of: Callable[[T], str]) -> None:
        """Stores what devices have sent. If that fails for another reason than the disk, each part is stored alone, and
        those that fail again are left out and counted: the next pass would fail in the same way, for all devices.

        WorldError as of `keep`.
        """
        if not parts:
            return
        try:
            keep(parts)
        except EdgewardError:
            raise
        except Exception:
            for part in parts:
                self._keep_alone(part, keep, device_of)

    def _keep_alone(self, part: T, keep: Callable[[Sequence[T]], None], device_of: Callable[[T], str]) -> None:
        try:
            keep([part])
        except EdgewardError:
            raise
        except Exception as error:  # whatever is wrong with it, it costs itself
            self._world.measured.left_out.note_unusable(device_of(part), _kind_of(part), error)

    async def _publish(self) -> None:
        try:
            if not await self._broker.publish(frozenset(self._unpublished), again=self._again):
                return
        except EdgewardError:
            self._acknowledge()  # reports are durable: a document that fails to publish does not delay their acks
            raise
        self._unpublished.clear()
        self._again = False
        self._acknowledge()

    def _acknowledge(self) -> None:
        while self._unacknowledged:
            self._broker.acknowledge(*self._unacknowledged.popleft())


def _kind_of(part: object) -> str:
    return type(part[1] if isinstance(part, tuple) else part).__name__


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).isoformat()
