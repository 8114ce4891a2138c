"""One pass: messages are folded into twins, rollouts are decided, and what must change is returned.

Pure in effect: the same world, inbox and time give the same result. The service makes it durable and then publishes;
the simulator calls this very function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from contract.desired import MAX_SOURCES, Delivery, TrialPolicy
from contract.histogram import merge
from contract.messages import Ack, Heartbeat, ModelWindow, Presence, Report, Telemetry, VersionRef
from controller.fleet.fit import Form, choose_form, stratum_of
from controller.fleet.neighbours import Sharing, neighbours_of, sharing_by
from controller.fleet.traffic import Traffic
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin, fold_heartbeat, fold_presence, fold_report
from controller.rollout.analysis import RuleVerdict
from controller.rollout.decide import Offer, decide
from controller.rollout.facts import BUCKET_S, MAX_BUCKETS, Cell, Cells, DeviceFact, Sums
from controller.rollout.model import FINAL, Member, Rollout, Strategy
from controller.rollout.plan import Target, join

UNHEARD_S = 300.0
"""After so long a document that an online device has not acted on is published again."""
SWEEP_S = 30.0
"""How often all twins are looked over for stale and unheard documents: a pass costs what came in, not the fleet."""

FromDevice = Heartbeat | Report | Presence | Telemetry


@dataclass
class World:
    """What the controller knows. What was measured may be lost with it; everything else is durable or told again."""

    silent_s: float
    twins: dict[str, Twin] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    cells: dict[str, Cells] = field(default_factory=dict)
    """What was measured since each open rollout began, both sides of it in the same minutes."""
    distributions: dict[tuple[str, int], dict[str, tuple[int, ...]]] = field(default_factory=dict)
    """(model, release) -> column -> counts per bin of the bundle's reference, of the whole fleet; "" for answers."""
    quarantine: dict[str, dict[str, str]] = field(default_factory=dict)
    """device -> digest -> the rollout in which it failed there"""
    deliveries: dict[str, dict[str, Delivery]] = field(default_factory=dict)
    """artifact -> base -> in how few bytes the artifact comes to whoever has the base; "" for no base"""
    sources: tuple[str, ...] = ()
    """Where devices find blobs besides the broker."""
    neighbours_by: str = ""
    """The label whose value neighbours have in common; empty: nobody fetches from another device."""
    sharing: Sharing | None = None
    """Who shares, as of this pass; None until somebody asks."""
    joining: set[str] = field(default_factory=set)
    """Devices that are new, or that have other labels now: a rollout may be about them since."""
    places: dict[str, tuple[tuple[Member, ...], dict[str, Member]]] = field(default_factory=dict)
    """Members of open rollouts by device, made again when the members change."""
    verdicts: dict[str, tuple[RuleVerdict, ...]] = field(default_factory=dict)
    totals: dict[tuple[str, str, int], Sums] = field(default_factory=dict)
    """(device, model, release) -> sums since the controller started"""
    published_at: dict[str, float] = field(default_factory=dict)
    """When a device's document was last published."""
    waiting: set[str] = field(default_factory=set)
    """Devices that have not acted on their document, as far as they say themselves."""
    sweep_at: float = 0.0
    """When all documents are looked over next."""
    traffic: dict[str, Traffic] = field(default_factory=dict)
    """What a device moves, and the rest of its newest telemetry: memory, stalls."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one pass changed; the service makes it durable, then publishes."""

    redesired: frozenset[str] = frozenset()
    """Devices with a new desired document."""
    unheard: frozenset[str] = frozenset()
    """Devices that are there and have not acted on their document: it is published again as it is."""
    rollouts: tuple[Rollout, ...] = ()
    quarantined: frozenset[str] = frozenset()
    """Devices on which a release has failed for good."""
    acks: tuple[tuple[str, Ack], ...] = ()
    reports: tuple[tuple[str, Report], ...] = ()
    heartbeats: tuple[tuple[str, Heartbeat], ...] = ()


def reconcile(world: World, inbox: Iterable[tuple[str, FromDevice]], now: float) -> Changes:
    """Fold and decide; `world` is brought up to date in place."""
    world.sharing = None
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
    changed: dict[str, Rollout] = {}
    quarantined: set[str] = set()
    for rollout in join_newcomers(world):
        world.rollouts[rollout.id] = changed[rollout.id] = rollout
    for rollout in list(world.rollouts.values()):
        if rollout.status in FINAL and not is_standing(world, rollout):
            continue
        facts = facts_of(world, rollout, now, late_only=rollout.status == "completed")
        decision = decide(rollout, facts, world.cells.get(rollout.id, {}), now)
        world.verdicts[rollout.id] = decision.verdicts or world.verdicts.get(rollout.id, ())
        for offer in decision.offers:
            offer_release(world, offer, rollout, now)
            redesired.add(offer.device)
        quarantined |= keep_from(world, decision.quarantined, rollout)
        if decision.rollout != rollout:
            world.rollouts[rollout.id] = changed[rollout.id] = decision.rollout
    redesired |= answer_nonces(world, (device for device, _ in heartbeats), now)
    unheard: set[str] = set()
    if now >= world.sweep_at:
        world.sweep_at = now + SWEEP_S
        redesired |= reissue_documents(world, now)
        unheard = unheard_documents(world, now) - redesired
    world.published_at.update(dict.fromkeys(redesired | unheard, now))
    return Changes(
        redesired=frozenset(redesired),
        unheard=frozenset(unheard),
        rollouts=tuple(changed.values()),
        quarantined=frozenset(quarantined),
        acks=tuple(acks),
        reports=tuple(reports),
        heartbeats=tuple(heartbeats),
    )


def facts_of(world: World, rollout: Rollout, now: float, *, late_only: bool = False) -> dict[str, DeviceFact]:
    """What `decide` may know about each member; of a completed rollout it asks for those who joined late only."""
    facts = {}
    for member in rollout.members:
        if late_only and not member.late:
            continue
        twin = world.twins.get(member.device) or Twin(member.device)
        facts[member.device] = DeviceFact(
            device=member.device,
            presence=twin.presence(now, world.silent_s),
            assigned=twin.desired.get(rollout.model),
            state=twin.reported.get(rollout.model),
        )
    return facts


def is_standing(world: World, rollout: Rollout) -> bool:
    """Whether a completed rollout is the newest of its model that counts: who joins later is still its business."""
    others = (other for other in world.rollouts.values() if other.model == rollout.model and other.id != rollout.id)
    counting = (other for other in others if other.status in ("completed", "running", "paused"))
    return rollout.status == "completed" and not any(other.began_at > rollout.began_at for other in counting)


def join_newcomers(world: World) -> list[Rollout]:
    """Rollouts with the devices that match them only since now, at the tail."""
    names, world.joining = sorted(world.joining), set()
    if not names:
        return []
    grown = []
    for rollout in world.rollouts.values():
        if rollout.status in ("running", "paused") or is_standing(world, rollout):
            fitting, excluded = _matching(world, rollout, names)
            found = join(rollout, fitting, excluded, confirmed_versions(world, rollout.model, names))
            grown += [found] if found is not rollout else []
    return grown


def _matching(world: World, rollout: Rollout, names: Iterable[str]) -> tuple[list[Target], dict[str, str]]:
    """(newcomers that it fits, why it does not fit the others)."""
    members = members_of(world, rollout)
    twins = (world.twins[name] for name in names if name not in members and name not in rollout.excluded)
    matching = [twin for twin in twins if rollout.selector.items() <= twin.labels.items()]
    return fitted(world, matching, rollout.model, rollout.forms, rollout.strategy)


def fitted(
    world: World, twins: Iterable[Twin], model: str, forms: tuple[Form, ...], strategy: Strategy
) -> tuple[list[Target], dict[str, str]]:
    """(devices that a release fits in one of its forms, as a plan sees them; why it does not fit the others)."""
    targets, excluded = [], {}
    for twin in twins:
        form, reason = choose_form(twin, model, forms, strategy.trial, world.quarantine.get(twin.device, {}))
        if form is None:
            excluded[twin.device] = reason
            continue
        stratum = stratum_of(twin, strategy.strata)
        targets.append(Target(device=twin.device, stratum=stratum, labels=twin.labels, digest=form.digest))
    return targets, excluded


def members_of(world: World, rollout: Rollout) -> dict[str, Member]:
    """The members of a rollout by device."""
    known = world.places.get(rollout.id)
    if known is None or known[0] is not rollout.members:
        known = (rollout.members, {member.device: member for member in rollout.members})
        world.places[rollout.id] = known
    return known[1]


def keep_from(world: World, devices: Iterable[str], rollout: Rollout) -> set[str]:
    """Quarantine a release on devices where it has failed; those where it was not before."""
    members, new = members_of(world, rollout), set()
    for device in devices:
        kept = world.quarantine.setdefault(device, {})
        if (digest := rollout.digest_for(members[device])) not in kept:
            kept[digest] = rollout.id
            new.add(device)
    return new


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
        digest = _digest_for(members_of(world, rollout).get(offer.device), offer, rollout)
        near = _near(world, twin, offer.model, digest, now)
        desired[offer.model] = Assigned(
            release=offer.release,
            generation=version,
            rollout=rollout.id,
            digest=digest,
            delivery=None if near else delivery_for(world, twin, offer.model, digest),
            sources=(*near, *world.sources)[:MAX_SOURCES],
            policy=_policy_of(offer, rollout),
            attempt=offer.attempt,
            offered_at=now,
        )
    _put_twin(world, replace(twin, document_version=version, desired=desired, issued_at=int(now)))


def _near(world: World, twin: Twin, model: str, digest: str, now: float) -> tuple[str, ...]:
    """Neighbours that have an artifact. They have it whole: whoever is to ask them is told of no encoding."""
    if not world.neighbours_by:
        return ()
    if world.sharing is None:
        world.sharing = sharing_by(world.neighbours_by, world.twins, now, world.silent_s)
    return neighbours_of(twin, world.neighbours_by, model, digest, world.sharing)


def delivery_for(world: World, twin: Twin, model: str, digest: str) -> Delivery | None:
    """The fewest bytes in which a device can take an artifact, by what it can undo and what it holds."""
    state, hardware = twin.reported.get(model), twin.hardware
    slots = (state.stable, state.trial) if state is not None else ()
    held = {"", *(slot.digest for slot in slots if slot is not None)}
    known = world.deliveries.get(digest, {})
    usable = [known[base] for base in sorted(held & set(known))]
    fitting = [each for each in usable if hardware is not None and each.encoding in hardware.encodings]
    return min(fitting, key=lambda each: each.blob.length, default=None)


def _digest_for(member: Member | None, offer: Offer, rollout: Rollout) -> str:
    """Which form: the one that was chosen for the device, or the one that it had confirmed before."""
    if offer.release != rollout.release:
        return member.previous_digest if member is not None else ""
    return rollout.digest_for(member) if member is not None else rollout.digest


def _policy_of(offer: Offer, rollout: Rollout) -> TrialPolicy:
    """The strategy's, in the mode of the wave; the way back waits for nothing and shares with nobody."""
    trial = rollout.strategy.trial
    if offer.release == rollout.release:
        return replace(trial, mode="shadow" if offer.mode == "shadow" else "serve")
    return replace(trial, mode="serve", share=Decimal(1), reverse_share=Decimal(0), windows=(), max_hold_s=Decimal(0))


def confirmed_versions(world: World, model: str, devices: Iterable[str]) -> Mapping[str, VersionRef]:
    """The last confirmed version of each device that has one."""
    found = {}
    for device in devices:
        twin = world.twins.get(device)
        state = twin.reported.get(model) if twin else None
        if state is not None and state.stable is not None:
            found[device] = state.stable
    return found


def _fold(world: World, device: str, message: FromDevice, now: float) -> None:
    twin = world.twins.get(device) or Twin(device)
    match message:
        case Heartbeat():
            before, twin = twin, fold_heartbeat(twin, message, now)
            if before.hardware is None or before.labels != twin.labels:
                world.joining.add(device)
        case Report():
            twin = fold_report(twin, message, now)
        case Presence():
            twin = fold_presence(twin, message, now)
        case Telemetry():
            known = world.traffic.get(device)
            world.traffic[device] = known.then(message, now) if known is not None else Traffic(message, now)
            for window in message.windows:
                _add(world, device, window, now)
            world.twins.setdefault(device, twin)
            return
    _put_twin(world, twin)


def _add(world: World, device: str, window: ModelWindow, now: float) -> None:
    release = window.version.release
    key = (device, window.model, release)
    world.totals[key] = world.totals.get(key, Sums()).plus(window)
    if window.features or window.outputs:
        _add_distribution(world, window)
    for rollout in world.rollouts.values():
        if rollout.model == window.model and rollout.status in ("running", "paused"):
            member = members_of(world, rollout).get(device)
            if member is not None:
                _add_to_cell(world.cells.setdefault(rollout.id, {}), member.stratum, window, rollout.release, now)


def _add_to_cell(cells: Cells, stratum: str, window: ModelWindow, release: int, now: float) -> None:
    place = (stratum, int(now // BUCKET_S))
    cells[place] = cells.get(place, Cell()).plus(window, release)
    oldest = place[1] - MAX_BUCKETS
    if next(iter(cells))[1] < oldest:
        for stale in [each for each in cells if each[1] < oldest]:
            del cells[stale]


def _add_distribution(world: World, window: ModelWindow) -> None:
    known = world.distributions.setdefault((window.model, window.version.release), {})
    for column, counts in (*window.features.items(), ("", window.outputs)):
        known[column] = merge((known.get(column, ()), counts))
