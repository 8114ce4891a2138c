"""The begin and end of pins: the orders that a new pin gives a device, and the rollouts that get it back at the end.

Decides when a pinned device is sent to its release, and which rollouts take a device in whose pin has ended. Refuses to
know people, roles and how a change becomes durable.
"""

from msgspec.structs import replace

from contract.desired import TrialPolicy
from controller.fleet.pin import pin_words
from controller.fleet.twin import Twin
from controller.reconcile.deeds import Deed
from controller.reconcile.membership import fitted
from controller.reconcile.world import World, members_of, put_twin
from controller.rollout.model import JUDGED, Rollout

POLICY = TrialPolicy(min_samples=0, signature="may_change")
"""How a device tries the release of its pin. A person has named device and release, often to go back: it has a soak
and may fail as in any trial, but needs no requests, and its interface may be different.
"""


def needs_order(twin: Twin, model: str, release: int) -> bool:
    """Whether a device needs an order to run a release: it has not confirmed the release, or has an order for
    another one.
    """
    state, assigned = twin.reported.get(model), twin.desired.get(model)
    stable = state.stable if state is not None else None
    runs = stable is not None and stable.release == release
    return not runs or (assigned is not None and assigned.release != release)


def unpinned(twin: Twin, model: str) -> Twin:
    """Returns the twin without its pin of a model; its order stays."""
    return replace(twin, pins={name: pin for name, pin in twin.pins.items() if name != model})


def rollout_that_takes(world: World, twin: Twin, model: str) -> Rollout | None:
    """Returns the newest open rollout that brings another release to a device without its pin; None if none does."""
    said = twin.reported.get(model)
    stable = said.stable.release if said is not None and said.stable is not None else 0
    for rollout in reversed(world.durable.rollouts.values()):
        if rollout.model != model or rollout.status not in JUDGED or rollout.release == stable:
            continue
        member = members_of(world, rollout).get(twin.device)
        is_known = twin.device in rollout.excluded or (member is not None and not rollout.is_stopped(member))
        if is_known and fitted(world, [unpinned(twin, model)], model, rollout.forms, rollout.strategy)[0]:
            return rollout
    return None


def free(world: World, device: str, model: str) -> dict[str, Rollout]:
    """Allows the open rollouts of a model to include a device again; returns those that had excluded it, by id.

    They include it in the next pass, if it matches them and the release fits. An ended rollout changes nothing.
    """
    world.caches.joining.add(device)
    found = {}
    for rollout in world.durable.rollouts.values():
        if rollout.model == model and rollout.status in JUDGED and device in rollout.excluded:
            left = {name: why for name, why in rollout.excluded.items() if name != device}
            found[rollout.id] = replace(rollout, excluded=left)
    world.durable.rollouts.update(found)
    return found


def end_pins(world: World, now: float) -> tuple[set[str], dict[str, Rollout], list[Deed]]:
    """Ends the pins whose time is over; returns (devices, rollouts that may include them, entries for the audit)."""
    devices: set[str] = set()
    freed: dict[str, Rollout] = {}
    deeds = []
    for twin in [each for each in world.durable.twins.values() if each.pins]:
        for model, pin in twin.pins.items():
            if not pin.is_over(now):
                continue
            put_twin(world, unpinned(world.durable.twins[twin.device], model))
            freed |= free(world, twin.device, model)
            devices.add(twin.device)
            deeds.append(Deed("device unpin", twin.device, f"{model} was {pin_words(pin)}; its time is over"))
    return devices, freed, deeds
