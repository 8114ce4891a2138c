"""One pass of the controller, and its order: durable before published, published before acknowledged.

Decides what follows what, for the service and for the simulator alike. A pass whose write fails changes nothing more:
the next one begins with that write. Refuses to know where rows go and how messages travel.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contract.captured import Captured
from contract.errors import EdgewardError
from contract.messages import Ack, Heartbeat, Report
from contract.wire import encode
from controller.reconcile.decisions import Changes, reconcile
from controller.reconcile.durable import FleetRecords
from controller.reconcile.ports import Broker, History, Inbox, Listener
from controller.reconcile.world import World, known_rows


@dataclass
class Unsaved:
    """Changes that are not durable yet. Names, not values: what is written is what the world holds by then."""

    redesired: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    rollouts: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    captured: list[tuple[str, Captured]] = field(default_factory=list)
    acks: list[tuple[str, Ack]] = field(default_factory=list)

    def take(self, changes: Changes, captured: Iterable[tuple[str, Captured]] = ()) -> None:
        """Adds what a pass has changed, and batches of captured inferences that came since the last one."""
        self.redesired |= changes.redesired
        self.unheard |= changes.unheard
        self.rollouts.update(rollout.id for rollout in changes.rollouts)
        self.quarantined |= changes.quarantined
        self.reports += changes.reports
        self.heartbeats.update(changes.heartbeats)
        self.acks += changes.acks
        for device, batch in captured:
            self.captured.append((device, batch))
            self.acks.append((device, Ack(boot=batch.boot, seq=batch.seq)))


class Passes:
    """The passes of one controller, and what one of them leaves to the next."""

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
        """Whether a device has not heard what was published before."""
        self._unacknowledged: deque[tuple[str, Ack]] = deque()

    async def run(self, inbox: Inbox, now: float) -> None:
        """Folds, decides, makes durable, publishes, acknowledges. `now` is seconds since 1970.

        WorldError where a write fails: the changes wait for the next pass, and nothing of them has been published or
        acknowledged. That pass writes them before it takes messages: a world that is not durable changes no further.
        """
        self._save(now)
        messages, captured = inbox.take()
        known = [(device, known_rows(self._world, batch)) for device, batch in captured]
        self._unsaved.take(reconcile(self._world, messages, now), known)
        self._save(now)
        await self._publish()

    def _save(self, now: float) -> None:
        unsaved, durable = self._unsaved, self._world.durable
        if unsaved == Unsaved():
            return
        self._records.save(durable, unsaved.redesired, unsaved.rollouts, unsaved.quarantined)
        if unsaved.captured:
            self._history.keep_captured(unsaved.captured)
        if unsaved.reports or unsaved.heartbeats:
            history = ((device, encode(report).decode()) for device, report in unsaved.reports)
            reported = ((device, encode(heartbeat)) for device, heartbeat in unsaved.heartbeats.items())
            self._history.record(_stamp(now), history, reported)
            self._listener.reported(unsaved.reports)
        self._unsaved = Unsaved()
        self._unpublished |= unsaved.redesired | unsaved.unheard
        self._again |= bool(unsaved.unheard)
        self._unacknowledged.extend(unsaved.acks)
        if unsaved.rollouts:
            self._listener.saved([durable.rollouts[name] for name in sorted(unsaved.rollouts)])

    async def _publish(self) -> None:
        try:
            if not await self._broker.publish(frozenset(self._unpublished), again=self._again):
                return
        except EdgewardError:
            self._acknowledge()  # it says that words are durable here: no document is a reason to hold it back
            raise
        self._unpublished.clear()
        self._again = False
        self._acknowledge()

    def _acknowledge(self) -> None:
        while self._unacknowledged:
            self._broker.acknowledge(*self._unacknowledged.popleft())


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).isoformat()
