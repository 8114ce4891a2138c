"""The fleet on one page: presence, versions that serve, transfers, rollouts. Decides nothing.

Bounded however large the fleet is: counts of everything, and the first few of what is under way.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from contract.errors import Code
from contract.wire import Message
from controller.api.rollout_views import RolloutSummary, rollout_summary, serving_release
from controller.fleet.faults import faults_of
from controller.fleet.traffic import Traffic
from controller.fleet.twin import PresenceWord, Twin
from controller.health import Finding
from controller.reconcile.roster import fresh_roster, moment
from controller.reconcile.world import World
from controller.rollout.facts import Sums, total

MAX_ROLLOUTS = 8
MAX_TRANSFERS = 50
MAX_SICK = 50
MAX_FAILING_SOURCES = 50
WELL, BROKEN = frozenset({"starting", "running", "ended"}), frozenset({"waiting", "failing"})
"""States of sensors and sinks in which nothing is wrong with them; and the others."""


class ServedView(Message, frozen=True):
    """How many devices serve a version."""

    model: str
    release: int
    """0: a version that the controller does not know."""
    devices: int
    inferences: int
    errors: int
    refused: int
    accuracy: float | None
    """Of a classifier, over all devices since the controller started."""
    mean_absolute_error: float | None
    """Of a regression, as above."""
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
    """Since the newest row or delivery when the device said so; None before the first."""
    error: str


class TransferringView(Message, frozen=True):
    """A version on its way to a device."""

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
    """The first 50 devices that are to blame for what fails on them."""
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
    """The fleet as it is known now."""
    presence = {device: twin.presence(now, world.silent_s) for device, twin in world.durable.twins.items()}
    transfers = [
        found
        for device, twin in sorted(world.durable.twins.items())
        for found in _transfers(twin, presence[device], world.measured.traffic.get(device))
    ]
    traffic = world.measured.traffic
    newest = islice(reversed(world.durable.rollouts.values()), MAX_ROLLOUTS)
    return FleetView(
        findings=findings,
        devices=len(presence),
        presence=dict(sorted(Counter(presence.values()).items())),
        health=fresh_roster(world, now).counts(moment(world, now)),
        faults=dict(sorted(_faults(world, now).items())),
        serving=_serving(world),
        sick=tuple(islice(_sick(world), MAX_SICK)),
        sources=dict(sorted(_sources(world).items())),
        failing_sources=tuple(islice(_failing_sources(world), MAX_FAILING_SOURCES)),
        bytes_received=sum(each.newest.bytes_received for each in traffic.values()),
        bytes_s=sum(each.bytes_s for device, each in traffic.items() if presence.get(device) == "online"),
        fetching=len(transfers),
        transfers=tuple(transfers[:MAX_TRANSFERS]),
        rollouts=tuple(rollout_summary(rollout, world, now) for rollout in newest),
    )


def _serving(world: World) -> tuple[ServedView, ...]:
    counts: Counter[tuple[str, int]] = Counter()
    for twin in world.durable.twins.values():
        for model, state in twin.reported.items():
            if state.serving:
                counts[model, serving_release(state) or 0] += 1
    sums: dict[tuple[str, int], list[Sums]] = {}
    for (_, model, release), found in world.measured.totals.items():
        sums.setdefault((model, release), []).append(found)
    return tuple(
        _served(model, release, n, total(sums.get((model, release), ())))
        for (model, release), n in sorted(counts.items())
    )


def _served(model: str, release: int, devices: int, sums: Sums) -> ServedView:
    return ServedView(
        model=model,
        release=release,
        devices=devices,
        inferences=sums.inferences,
        errors=sums.errors,
        refused=sum(sums.refused.values()),
        accuracy=sums.accuracy,
        mean_absolute_error=sums.mean_absolute_error,
        r2=sums.r2,
    )


def _sick(world: World) -> Iterator[SickView]:
    for device, twin in sorted(world.durable.twins.items()):
        for model, state in sorted(twin.reported.items()):
            ended = state.outcome
            if state.code == Code.DEVICE_SICK:
                yield SickView(device=device, model=model, detail=state.detail)
            elif ended is not None and ended.code == Code.DEVICE_SICK:
                yield SickView(device=device, model=model, detail=ended.detail)


def _sources(world: World) -> Counter[str]:
    twins = world.durable.twins.values()
    states = (each.state for twin in twins for lives in (twin.sensors, twin.sinks) for each in lives)
    return Counter(state if state in WELL | BROKEN else "other" for state in states)


def _failing_sources(world: World) -> Iterator[SourceView]:
    for device, twin in sorted(world.durable.twins.items()):
        lives: list[tuple[str, str, str, float | None, str]] = [
            (f"sensor {each.name}", each.model, each.state, each.row_age_s, each.error) for each in twin.sensors
        ]
        lives += [(f"sink {each.name}", "", each.state, each.delivered_age_s, each.error) for each in twin.sinks]
        for name, model, state, age_s, error in lives:
            if state not in WELL:
                yield SourceView(device=device, name=name, model=model, state=state, age_s=age_s, error=error)


def _faults(world: World, now: float) -> Counter[str]:
    return Counter(code for twin in world.durable.twins.values() for code in faults_of(twin, world.withdrawn, now))


def _transfers(twin: Twin, presence: PresenceWord, traffic: Traffic | None) -> list[TransferringView]:
    return [
        TransferringView(
            device=twin.device,
            presence=presence,
            model=model,
            release=state.target.release if state.target is not None else 0,
            done_bytes=state.progress.done_bytes if state.progress is not None else 0,
            total_bytes=state.progress.total_bytes if state.progress is not None else 0,
            bytes_s=traffic.bytes_s if traffic is not None else 0.0,
        )
        for model, state in sorted(twin.reported.items())
        if state.phase == "fetching"
    ]
