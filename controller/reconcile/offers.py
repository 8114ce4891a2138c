"""Applies offers to twins: one offer becomes the desired side of a twin, with delivery, sources and trial policy.

Decides which delivery has the fewest bytes and which neighbours are sources. Refuses to know why the device gets the
offer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from contract.desired import MAX_SOURCES, MAX_WITHDRAWN, Delivery, TrialPolicy
from controller.fleet.neighbours import neighbours_by_label, neighbours_of
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.world import World, members_of, put_twin
from controller.rollout.decide import Offer
from controller.rollout.model import Member, Rollout


def keep_from(world: World, devices: Iterable[str], rollout: Rollout) -> set[str]:
    """Quarantines a release on devices on which it has failed; returns the devices for which that is new."""
    members, new = members_of(world, rollout), set()
    for device in devices:
        kept = world.durable.quarantine.setdefault(device, {})
        if (digest := rollout.digest_for(members[device])) not in kept:
            kept[digest] = rollout.id
            new.add(device)
    return new


def offer_release(world: World, offer: Offer, rollout: Rollout, now: float) -> None:
    """Changes the desired side of a device's twin. The new document version is also the generation of the target.

    `now` is seconds since 1970.
    """
    twin = world.durable.twins.get(offer.device) or Twin(offer.device)
    if not offer.release:
        put_twin(world, told(world, twin, offer.model, None, now))
        return
    digest = _digest_for(members_of(world, rollout).get(offer.device), offer, rollout)
    order = Order(offer.release, digest, _policy_of(offer, rollout), rollout.id, offer.attempt)
    put_twin(world, told(world, twin, offer.model, order, now))


@dataclass(frozen=True, slots=True)
class Order:
    """A release that a device must run, in one form, with one policy."""

    release: int
    digest: str
    policy: TrialPolicy
    rollout: str = ""
    """Empty: a pin asks for it."""
    attempt: int = 1


def told(world: World, twin: Twin, model: str, order: Order | None, now: float) -> Twin:
    """Returns the twin with an order about a model in its desired side; None: it must run no version of the model."""
    version = twin.next_version(now)
    desired = {name: assigned for name, assigned in twin.desired.items() if name != model}
    withdrawn = {name: generation for name, generation in twin.withdrawn.items() if name != model}
    if order is None:
        withdrawn[model] = version
    else:
        near = _near(world, twin, model, order.digest, now)
        desired[model] = Assigned(
            release=order.release,
            generation=version,
            rollout=order.rollout,
            digest=order.digest,
            delivery=None if near else delivery_for(world, twin, model, order.digest),
            sources=(*near, *world.sources)[:MAX_SOURCES],
            policy=order.policy,
            attempt=order.attempt,
            offered_at=now,
        )
    newest = dict(list(withdrawn.items())[-MAX_WITHDRAWN:])
    return replace(twin, document_version=version, desired=desired, withdrawn=newest, issued_at=int(now))


def _near(world: World, twin: Twin, model: str, digest: str, now: float) -> tuple[str, ...]:
    """Returns the addresses of neighbours that have an artifact. They serve it unencoded, so no encoding is named."""
    if not world.neighbours_by:
        return ()
    if world.caches.near_by_label is None:
        world.caches.near_by_label = neighbours_by_label(world.neighbours_by, world.durable.twins, now, world.silent_s)
    return neighbours_of(twin, world.neighbours_by, model, digest, world.caches.near_by_label)


def delivery_for(world: World, twin: Twin, model: str, digest: str) -> Delivery | None:
    """Returns the smallest delivery of an artifact that a device can use; None if the whole artifact must be sent.

    A device can use an encoding that it knows, from a base that it holds.
    """
    state, hardware = twin.reported.get(model), twin.hardware
    kept = (state.stable, state.trial) if state is not None else ()
    held = {"", *(each.digest for each in kept if each is not None)}
    known = world.durable.deliveries.get(digest, {})
    usable = [known[base] for base in sorted(held & set(known))]
    fitting = [each for each in usable if hardware is not None and each.encoding in hardware.encodings]
    return min(fitting, key=lambda each: each.blob.length, default=None)


def _digest_for(member: Member | None, offer: Offer, rollout: Rollout) -> str:
    """Returns the digest of the form that was chosen for the device, or on the way back of the version that it had
    confirmed.
    """
    if offer.release != rollout.release:
        return member.previous_digest if member is not None else ""
    return rollout.digest_for(member) if member is not None else rollout.digest


def _policy_of(offer: Offer, rollout: Rollout) -> TrialPolicy:
    """Returns the strategy's trial policy in the mode of the wave. On the way back: no waiting, all requests."""
    trial = rollout.strategy.trial
    if offer.release == rollout.release:
        return replace(trial, mode="shadow" if offer.mode == "shadow" else "serve")
    return replace(
        trial,
        mode="serve",
        traffic_share=Decimal(1),
        reverse_share=Decimal(0),
        maintenance=(),
        max_hold_s=Decimal(0),
        signature="may_change",
    )
