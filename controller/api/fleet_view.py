"""The fleet on one page: presence, versions that serve, transfers, rollouts. Decides nothing.

Bounded for any size of fleet: counts of everything, and the first few of what is in progress.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import islice

from contract.errors import Code
from contract.messages import ModelState
from contract.wire import Message
from controller.api.rollout_views import RolloutSummary, rollout_summary, serving_version
from controller.fleet.faults import faults_of
from controller.fleet.steps import Steps, at_once, strides
from controller.fleet.traffic import Traffic
from controller.fleet.twin import PresenceWord, Twin
from controller.health import Finding
from controller.reconcile.roster import fresh_roster, moment
from controller.reconcile.world import World, holds
from controller.rollout.facts import Sums, total
from controller.rollout.label_weight import most_labels, with_most_labels

MAX_ROLLOUTS = 8
MAX_TRANSFERS = 50
MAX_SICK = 50
MAX_FAILING_SOURCES = 50
WELL, BROKEN = frozenset({"starting", "running", "paused", "ended"}), frozenset({"waiting", "failing"})
"""WELL: states of sensors and sinks without a fault. BROKEN: all other states."""


class ServedView(Message, frozen=True):
    """How many devices serve a version."""

    model: str
    release: int
    """The number of the version; 0 for one that the controller does not know."""
    devices: int
    """Devices that have confirmed it and answer with it, or try it now; away from the link they answer as well."""
    unsure: int
    """Devices that are not online and were on trial with it when they last reported: they may have rolled back since.
    They are not in `devices`."""
    lost: int
    """Those of them on which this number is a version that the registry does not hold, as after a restore."""
    inferences: int
    errors: int
    refused: int
    accuracy: float | None
    """The accuracy of a classifier over all devices since the controller started; a device counts at most like 100
    medians."""
    mean_absolute_error: float | None
    """The error of a regression over all devices since the controller started."""
    r2: float | None


class SickView(Message, frozen=True):
    """A device on which the stable version fails as much as the one on trial."""

    device: str
    model: str
    detail: str


class SourceView(Message, frozen=True):
    """A sensor or a sink that does not work."""

    device: str
    name: str
    """`sensor` or `sink`, its kind and its place in the device's configuration."""
    model: str
    """Empty for a sink."""
    state: str
    age_s: float | None
    """Seconds since the newest row or delivery at the time of the device's report; None before the first."""
    error: str


class TransferringView(Message, frozen=True):
    """A version that a device is fetching."""

    device: str
    presence: PresenceWord
    model: str
    release: int
    done_bytes: int
    total_bytes: int
    bytes_s: float


class FleetView(Message, frozen=True):
    """Everything on the fleet's page."""

    findings: tuple[Finding, ...]
    """What is wrong with the controller."""
    devices: int
    presence: dict[str, int]
    health: dict[str, int]
    """Devices by health, the worst first."""
    faults: dict[str, int]
    """Devices by the code of what is wrong with them."""
    serving: tuple[ServedView, ...]
    sick: tuple[SickView, ...]
    """The first 50 devices that cause the failures on them themselves."""
    sources: dict[str, int]
    """Sensors and sinks of all devices, by state."""
    failing_sources: tuple[SourceView, ...]
    """The first 50 sensors and sinks that do not work."""
    bytes_received: int
    """Sum over all devices, each since it started."""
    bytes_s: float
    fetching: int
    transfers: tuple[TransferringView, ...]
    """The first 50 transfers under way, by the devices' newest heartbeats."""
    rollouts: tuple[RolloutSummary, ...]
    """The newest 8, newest first; members are counted while a rollout is open."""


def fleet_view(world: World, now: float, findings: tuple[Finding, ...] = ()) -> FleetView:
    """Returns the fleet as it is known now."""
    return at_once(fleet_view_steps(world, now, findings))


def fleet_view_steps(world: World, now: float, findings: tuple[Finding, ...] = ()) -> Steps[FleetView]:
    """Does the same in steps: with 100,000 devices it takes a second of a core."""
    tally = _Tally(world, now)
    for twins in strides(world.durable.twins.values()):
        for twin in twins:
            tally.count(twin)
        yield
    for measured in strides(world.measured.totals.items()):
        tally.weigh(measured)
        yield
    for measured in strides(world.measured.totals.items()):
        tally.add(measured)
        yield
    traffic = world.measured.traffic
    bytes_received = sum(each.newest.bytes_received for each in traffic.values())
    yield
    newest = islice(reversed(world.durable.rollouts.values()), MAX_ROLLOUTS)
    return FleetView(
        findings=findings,
        devices=sum(tally.presence.values()),
        presence=dict(sorted(tally.presence.items())),
        health=fresh_roster(world, now).counts(moment(world, now)),
        faults=dict(sorted(tally.faults.items())),
        serving=tally.served(),
        sick=tuple(nsmallest(MAX_SICK, tally.sick, key=lambda each: (each.device, each.model))),
        sources=dict(sorted(tally.sources.items())),
        failing_sources=tuple(nsmallest(MAX_FAILING_SOURCES, tally.failing, key=lambda each: each.device)),
        bytes_received=bytes_received,
        bytes_s=tally.bytes_s,
        fetching=len(tally.transfers),
        transfers=tuple(nsmallest(MAX_TRANSFERS, tally.transfers, key=lambda each: (each.device, each.model))),
        rollouts=tuple(rollout_summary(rollout, world, now) for rollout in newest),
    )


class _Tally:
    """The counts, to which one device after another is added."""

    def __init__(self, world: World, now: float) -> None:
        self._world, self._now = world, now
        self.presence: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.sick: list[SickView] = []
        self.failing: list[SourceView] = []
        self.transfers: list[TransferringView] = []
        self.bytes_s = 0.0
        self._serving: Counter[tuple[str, int]] = Counter()
        self._unsure: Counter[tuple[str, int]] = Counter()
        self._lost: Counter[tuple[str, int]] = Counter()
        self._sums: dict[tuple[str, int], Sums] = {}
        self._labelled: dict[tuple[str, int], list[int]] = {}
        self._most: dict[tuple[str, int], float] = {}

    def count(self, twin: Twin) -> None:
        """Counts one device."""
        presence = twin.presence(self._now, self._world.silent_s)
        traffic = self._world.measured.traffic.get(twin.device)
        self.presence[presence] += 1
        self.faults.update(list(faults_of(twin, self._world.withdrawn, self._now)))
        if presence == "online" and traffic is not None:
            self.bytes_s += traffic.bytes_s
        for model, state in twin.reported.items():
            if state.serving:
                self._count_served(model, state, presence)
            if state.phase == "fetching":
                self.transfers.append(_transfer(twin, model, state, presence, traffic))
            if (words := _sick(state)) is not None:
                self.sick.append(SickView(device=twin.device, model=model, detail=words))
        if twin.sensors or twin.sinks:
            lives = (each.state for lives in (twin.sensors, twin.sinks) for each in lives)
            self.sources.update(state if state in WELL | BROKEN else "other" for state in lives)
            self.failing += _failing_sources(twin)

    def _count_served(self, model: str, state: ModelState, presence: PresenceWord) -> None:
        served = serving_version(state)
        of = model, served.release if served is not None else 0
        is_unsure = served is not None and served == state.trial and presence != "online"
        self._serving[of] += not is_unsure
        self._unsure[of] += is_unsure
        if is_unsure:
            return
        self._lost[of] += served is not None and not holds(self._world, model, served)

    def weigh(self, measured: Iterable[tuple[tuple[str, str, int], Sums]]) -> None:
        """Notes how many labels each device has."""
        for (_, model, release), sums in measured:
            if sums.labelled:
                self._labelled.setdefault((model, release), []).append(sums.labelled)

    def add(self, measured: Iterable[tuple[tuple[str, str, int], Sums]]) -> None:
        """Adds what devices have measured about releases, once all are weighed."""
        found: dict[tuple[str, int], list[Sums]] = {}
        for (_, model, release), sums in measured:
            found.setdefault((model, release), []).append(with_most_labels(sums, self._most_of((model, release))))
        for of, each in found.items():
            self._sums[of] = total([*([self._sums[of]] if of in self._sums else []), *each])

    def _most_of(self, of: tuple[str, int]) -> float:
        if of not in self._most:
            self._most[of] = most_labels(self._labelled.get(of, ()))
        return self._most[of]

    def served(self) -> tuple[ServedView, ...]:
        """Returns devices and inferences by version."""
        return tuple(
            _served(of, (n, self._unsure[of], self._lost[of]), self._sums.get(of, Sums()))
            for of, n in sorted(self._serving.items())
        )


def _served(of: tuple[str, int], counted: tuple[int, int, int], sums: Sums) -> ServedView:
    return ServedView(
        model=of[0],
        release=of[1],
        devices=counted[0],
        unsure=counted[1],
        lost=counted[2],
        inferences=sums.inferences,
        errors=sums.errors,
        refused=sum(sums.refused.values()),
        accuracy=sums.accuracy,
        mean_absolute_error=sums.mean_absolute_error,
        r2=sums.r2,
    )


def _sick(state: ModelState) -> str | None:
    """Returns the view of a device that causes failures itself; None for the others."""
    ended = state.outcome
    if state.code == Code.DEVICE_SICK:
        return state.detail
    return ended.detail if ended is not None and ended.code == Code.DEVICE_SICK else None


def _failing_sources(twin: Twin) -> Iterator[SourceView]:
    lives: list[tuple[str, str, str, float | None, str]] = [
        (f"sensor {each.name}", each.model, each.state, each.row_age_s, each.error) for each in twin.sensors
    ]
    lives += [(f"sink {each.name}", "", each.state, each.delivered_age_s, each.error) for each in twin.sinks]
    for name, model, state, age_s, error in lives:
        if state not in WELL:
            yield SourceView(device=twin.device, name=name, model=model, state=state, age_s=age_s, error=error)


def _transfer(
    twin: Twin, model: str, state: ModelState, presence: PresenceWord, traffic: Traffic | None
) -> TransferringView:
    return TransferringView(
        device=twin.device,
        presence=presence,
        model=model,
        release=state.target.release if state.target is not None else 0,
        done_bytes=state.progress.done_bytes if state.progress is not None else 0,
        total_bytes=state.progress.total_bytes if state.progress is not None else 0,
        bytes_s=traffic.bytes_s if traffic is not None else 0.0,
    )
