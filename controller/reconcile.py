"""One pass: messages are folded into twins, rollouts are decided, and what must change is returned.

Pure in effect: the same world, inbox and time give the same result. The service makes it durable and then publishes;
the simulator calls this very function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from contract.messages import Ack, Heartbeat, ModelWindow, Presence, Report, Telemetry
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin, fold_heartbeat, fold_presence, fold_report
from controller.rollout.analysis import RuleVerdict
from controller.rollout.decide import Offer, decide
from controller.rollout.facts import DeviceFact, Sums
from controller.rollout.model import FINAL, Rollout

UNHEARD_S = 300.0
"""After so long a document that an online device has not acted on is published again."""
SWEEP_S = 30.0
"""How often all twins are looked over for stale and unheard documents: a pass costs what came in, not the fleet."""

FromDevice = Heartbeat | Report | Presence | Telemetry


@dataclass
class World:
    """What the controller knows. `sums` holds what was measured since each open rollout began; it may be lost."""

    silent_s: float
    twins: dict[str, Twin] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    sums: dict[str, dict[str, dict[int, Sums]]] = field(default_factory=dict)
    """rollout -> device -> release -> sums"""
    verdicts: dict[str, tuple[RuleVerdict, ...]] = field(default_factory=dict)
    totals: dict[tuple[str, str, int], Sums] = field(default_factory=dict)
    """(device, model, release) -> sums since the controller started"""
    published_at: dict[str, float] = field(default_factory=dict)
    """When a device's document was last published."""
    waiting: set[str] = field(default_factory=set)
    """Devices that have not acted on their document, as far as they say themselves."""
    sweep_at: float = 0.0
    """When all documents are looked over next."""
    traffic: dict[str, Telemetry] = field(default_factory=dict)
    """Newest telemetry of a device: bytes, memory, stalls."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one pass changed; the service makes it durable, then publishes."""

    redesired: frozenset[str] = frozenset()
    """Devices with a new desired document."""
    unheard: frozenset[str] = frozenset()
    """Devices that are there and have not acted on their document: it is published again as it is."""
    rollouts: tuple[Rollout, ...] = ()
    acks: tuple[tuple[str, Ack], ...] = ()
    reports: tuple[tuple[str, Report], ...] = ()
    heartbeats: tuple[tuple[str, Heartbeat], ...] = ()


def reconcile(world: World, inbox: Iterable[tuple[str, FromDevice]], now: float) -> Changes:
    """Fold and decide; `world` is brought up to date in place."""
    acks: dict[tuple[str, Ack], None] = {}
    reports, heartbeats = [], []
    for device, message in inbox:
        _fold(world, device, message, now)
        if isinstance(message, Report):
            acks[device, Ack(boot=message.boot, seq=message.seq)] = None  # one for a report that came twice
            reports.append((device, message))
        elif isinstance(message, Heartbeat):
            heartbeats.append((device, message))
    redesired: set[str] = set()
    changed: list[Rollout] = []
    for rollout in list(world.rollouts.values()):
        if rollout.status in FINAL:
            continue
        decision = decide(rollout, facts_of(world, rollout, now), now)
        world.verdicts[rollout.id] = decision.verdicts or world.verdicts.get(rollout.id, ())
        for offer in decision.offers:
            offer_release(world, offer, rollout, now)
            redesired.add(offer.device)
        if decision.rollout != rollout:
            world.rollouts[rollout.id] = decision.rollout
            changed.append(decision.rollout)
    redesired |= answer_nonces(world, (device for device, _ in heartbeats), now)
    unheard: set[str] = set()
    if now >= world.sweep_at:
        world.sweep_at = now + SWEEP_S
        redesired |= reissue_documents(world, now)
        unheard = unheard_documents(world, now) - redesired
    world.published_at.update(dict.fromkeys(redesired | unheard, now))
    return Changes(
        frozenset(redesired), frozenset(unheard), tuple(changed), tuple(acks), tuple(reports), tuple(heartbeats)
    )


def facts_of(world: World, rollout: Rollout, now: float) -> dict[str, DeviceFact]:
    """What `decide` may know about each member."""
    facts = {}
    for member in rollout.members:
        twin = world.twins.get(member.device) or Twin(member.device)
        facts[member.device] = DeviceFact(
            device=member.device,
            presence=twin.presence(now, world.silent_s),
            assigned=twin.desired.get(rollout.model),
            state=twin.reported.get(rollout.model),
            sums=world.sums.get(rollout.id, {}).get(member.device, {}),
        )
    return facts


def answer_nonces(world: World, devices: Iterable[str], now: float) -> set[str]:
    """Documents that repeat what their devices have asked, with a new version and date; generations stay."""
    asking = {device for device in devices if (twin := world.twins[device]).asks not in ("", twin.answered)}
    for device in sorted(asking):
        twin = world.twins[device]
        version = twin.document_version + 1
        world.twins[device] = replace(twin, document_version=version, issued_at=int(now), answered=twin.asks)
    return asking


def reissue_documents(world: World, now: float) -> set[str]:
    """Give documents past half of their life a new version and date; generations stay, so devices do nothing new."""
    stale = [
        twin for twin in world.twins.values() if twin.document_version and now - twin.issued_at > DOCUMENT_LIFE_S / 2
    ]
    for twin in stale:
        world.twins[twin.device] = replace(twin, document_version=twin.document_version + 1, issued_at=int(now))
    return {twin.device for twin in stale}


def unheard_documents(world: World, now: float) -> set[str]:
    """Retained does not mean delivered: a broker whose queue for a device is full drops without a word."""
    said_before = now - UNHEARD_S
    return {
        device
        for device in world.waiting
        if world.published_at.get(device, now) < said_before
        and (twin := world.twins.get(device)) is not None
        and twin.presence(now, world.silent_s) == "online"
    }


def _put_twin(world: World, twin: Twin) -> None:
    """Everything that changes what a device was told or says goes through here."""
    world.twins[twin.device] = twin
    for model, assigned in twin.desired.items():
        state = twin.reported.get(model)
        if state is None or state.generation < assigned.generation:
            world.waiting.add(twin.device)
            return
    world.waiting.discard(twin.device)


def offer_release(world: World, offer: Offer, rollout: Rollout, now: float) -> None:
    """Change what a device is desired to run; the document's version is the target's generation."""
    twin = world.twins.get(offer.device) or Twin(offer.device)
    version = twin.document_version + 1
    desired = {model: assigned for model, assigned in twin.desired.items() if model != offer.model}
    if offer.release:
        policy = msgspec.to_builtins(rollout.strategy.trial)
        desired[offer.model] = Assigned(release=offer.release, generation=version, rollout=rollout.id, policy=policy)
    _put_twin(world, replace(twin, document_version=version, desired=desired, issued_at=int(now)))


def confirmed_releases(world: World, model: str, devices: Iterable[str]) -> Mapping[str, int]:
    """The last confirmed release of each device that has one."""
    found = {}
    for device in devices:
        twin = world.twins.get(device)
        state = twin.reported.get(model) if twin else None
        if state is not None and state.stable is not None:
            found[device] = state.stable.release
    return found


def _fold(world: World, device: str, message: FromDevice, now: float) -> None:
    twin = world.twins.get(device) or Twin(device)
    match message:
        case Heartbeat():
            twin = fold_heartbeat(twin, message, now)
        case Report():
            twin = fold_report(twin, message, now)
        case Presence():
            twin = fold_presence(twin, message, now)
        case Telemetry():
            world.traffic[device] = message
            for window in message.windows:
                _add(world, device, window)
            world.twins.setdefault(device, twin)
            return
    _put_twin(world, twin)


def _add(world: World, device: str, window: ModelWindow) -> None:
    release = window.version.release
    key = (device, window.model, release)
    world.totals[key] = world.totals.get(key, Sums()).plus(window)
    for rollout in world.rollouts.values():
        if rollout.model == window.model and rollout.status not in FINAL:
            by_release = world.sums.setdefault(rollout.id, {}).setdefault(device, {})
            by_release[release] = by_release.get(release, Sums()).plus(window)
