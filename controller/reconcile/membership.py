"""The members of a rollout: facts about them, devices that match it only now, and the form that fits each device.

Decides who is a member, and why a device is not. Refuses to know waves and verdicts.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from contract.messages import VersionRef
from controller.fleet.exclusion import Exclusion
from controller.fleet.fit import Form, choose_form, stratum_of
from controller.fleet.twin import Twin
from controller.reconcile.world import World, holds, members_of
from controller.rollout.facts import DeviceFact
from controller.rollout.model import Member, Rollout, Strategy
from controller.rollout.plan import Target, join


def facts_of(world: World, rollout: Rollout, now: float, *, late_only: bool = False) -> dict[str, DeviceFact]:
    """Returns the facts that `decide` uses about each member; `late_only`: about those that joined late."""
    facts, twins = {}, world.durable.twins
    for member in rollout.members:
        if late_only and not member.late:
            continue
        twin = twins.get(member.device) or Twin(member.device)
        facts[member.device] = DeviceFact(
            device=member.device,
            presence=twin.presence(now, world.silent_s),
            assigned=twin.desired.get(rollout.model),
            state=twin.reported.get(rollout.model),
            retired=member.device in world.durable.retired,
            pinned_at=pin.release if (pin := twin.pins.get(rollout.model)) is not None else 0,
        )
    return facts


def quiet_of(world: World, rollout: Rollout, *, wave: int) -> dict[str, float]:
    """Returns members up to a wave that get no requests for the model, with the seconds of their newest telemetry.

    A device counts if its telemetry has no inference of the model and no sensor works for it. It counts with 0 s if it
    has reported neither telemetry nor the model yet.
    """
    found, traffic, twins = {}, world.measured.traffic, world.durable.twins
    for member in rollout.members:
        known, twin = traffic.get(member.device), twins.get(member.device)
        if twin is None or twin.seen_at is None or member.wave > wave:
            continue
        if any(each.model == rollout.model and each.state == "running" for each in twin.sensors):
            continue
        if known is None and rollout.model not in twin.reported:
            found[member.device] = 0.0
        elif known is not None and not any(
            each.model == rollout.model and each.inferences for each in known.newest.intervals
        ):
            found[member.device] = known.newest.interval_s
    return found


def is_standing(world: World, rollout: Rollout) -> bool:
    """Whether a completed rollout is the newest of its model that counts: devices that join later still get it."""
    if (rollout.model, rollout.release) in world.withdrawn:
        return False
    others = (
        other for other in world.durable.rollouts.values() if other.model == rollout.model and other.id != rollout.id
    )
    counting = (other for other in others if other.status in ("completed", "running", "paused"))
    wide = (other for other in counting if not other.among)  # a retry on a few devices changes nothing for the others
    return rollout.status == "completed" and not any(other.began_at > rollout.began_at for other in wide)


def join_newcomers(world: World) -> list[Rollout]:
    """Returns rollouts with added members: devices that match them only since this pass."""
    names, world.caches.joining = sorted(world.caches.joining), set()
    if not names:
        return []
    grown = []
    for rollout in world.durable.rollouts.values():
        if rollout.status in ("running", "paused") or is_standing(world, rollout):
            fitting, excluded = _matching(world, rollout, names)
            found = join(rollout, fitting, excluded, confirmed_versions(world, rollout.model, names))
            grown += [found] if found is not rollout else []
    return grown


def _matching(world: World, rollout: Rollout, names: Iterable[str]) -> tuple[list[Target], dict[str, Exclusion]]:
    """Returns (new members that it fits, why it does not fit the others)."""
    members = members_of(world, rollout)
    twins = (world.durable.twins[name] for name in names if name not in members and name not in rollout.excluded)
    matching = [
        twin
        for twin in twins
        if rollout.selector.items() <= twin.labels.items() and (not rollout.among or twin.device in rollout.among)
    ]
    settled = {
        twin.device: why for twin in matching if (why := _why_left_alone(world, twin, rollout.model)) is not None
    }
    newcomers = (twin for twin in matching if twin.device not in settled)
    targets, excluded = fitted(world, newcomers, rollout.model, rollout.forms, rollout.strategy)
    return targets, excluded | settled


def _why_left_alone(world: World, twin: Twin, model: str) -> Exclusion | None:
    """Returns why a device that joins with a version of the model gets no other version by itself; None if it may get
    one.

    The device was moved here, or got the version from this controller before that was restored from a backup.
    """
    state = twin.reported.get(model)
    if state is None or state.stable is None or model in twin.desired or holds(world, model, state.stable):
        return None
    words = f"it runs v{state.stable.release}, which the registry does not hold: start a rollout to change that"
    return Exclusion("unregistered", words)


def fitted(
    world: World, twins: Iterable[Twin], model: str, forms: tuple[Form, ...], strategy: Strategy
) -> tuple[list[Target], dict[str, Exclusion]]:
    """Returns (devices that a release fits in one of its forms, as in a plan; the reason for each other device)."""
    targets, excluded = [], {}
    for twin in twins:
        form, reason = choose_form(twin, model, forms, strategy.trial, world.durable.quarantine.get(twin.device, {}))
        if form is None:
            excluded[twin.device] = reason or Exclusion("unknown", "the version has no form")
            continue
        stratum = stratum_of(twin, strategy.strata)
        targets.append(Target(device=twin.device, stratum=stratum, labels=twin.labels, digest=form.digest))
    return targets, excluded


def confirmed_versions(world: World, model: str, devices: Iterable[str]) -> Mapping[str, VersionRef]:
    """Returns the last confirmed version of each device to which it could be sent again."""
    said = ((device, _stable_of(world, model, device)) for device in devices)
    return {device: stable for device, stable in said if stable is not None and holds(world, model, stable)}


def why_no_way_back(world: World, model: str, device: str) -> str:
    """Says in words why a roll back has no release to which a device could be sent."""
    stable = _stable_of(world, model, device)
    if stable is None:
        return "it runs nothing yet"
    lost = f"it runs v{stable.release} ({stable.digest[:12]}), which the registry does not hold"
    return f"{lost}: a roll back leaves it as it is then"


def marked(world: World, model: str, members: tuple[Member, ...]) -> tuple[Member, ...]:
    """Returns the members; members with a version that the registry lacks are marked."""
    stables = {each.device: _stable_of(world, model, each.device) for each in members if not each.previous_release}
    return tuple(
        replace(each, lost_digest=lost.digest) if (lost := stables.get(each.device)) is not None else each
        for each in members
    )


def _stable_of(world: World, model: str, device: str) -> VersionRef | None:
    twin = world.durable.twins.get(device)
    state = twin.reported.get(model) if twin is not None else None
    return state.stable if state is not None else None
