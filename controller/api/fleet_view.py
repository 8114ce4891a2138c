"""The fleet on one page: presence, versions that serve, transfers, rollouts. Decides nothing.

Bounded however large the fleet is: counts of everything, and the first few of what is under way.
"""

from collections import Counter
from itertools import islice

from contract.wire import Message
from controller.api.rollout_views import RolloutSummary, rollout_summary, serving_release
from controller.fleet.faults import faults_of
from controller.fleet.traffic import Traffic
from controller.fleet.twin import PresenceWord, Twin
from controller.health import Finding
from controller.reconcile.world import World

MAX_ROLLOUTS = 8
MAX_TRANSFERS = 50


class ServedView(Message, frozen=True):
    """How many devices serve a version."""

    model: str
    release: int
    """0: a version that the controller does not know."""
    devices: int


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
    faults: dict[str, int]
    """Devices by the code of what is wrong with them."""
    serving: tuple[ServedView, ...]
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
        faults=dict(sorted(_faults(world, now).items())),
        serving=_serving(world),
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
    return tuple(ServedView(model=model, release=release, devices=n) for (model, release), n in sorted(counts.items()))


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
