"""Plans the waves by a stable hash: a preview equals the run, and a higher percentage only adds devices."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contract.messages import VersionRef
from contract.names import unit_number
from controller.fleet.exclusion import Exclusion
from controller.rollout.model import Member, Rollout, Strategy, Wave


class Target(msgspec.Struct, frozen=True):
    """A device that a rollout can include."""

    device: str
    stratum: str = ""
    labels: Mapping[str, str] = {}
    digest: str = ""
    """The digest of the form that was chosen for it; empty: the first form."""


def rank(rollout: str, device: str) -> str:
    """Returns the device's sort key in the rollout's order."""
    return hashlib.sha256(f"{rollout}/{device}".encode()).hexdigest()


def unit_hash(rollout: str, device: str) -> float:
    """Returns a stable hash of the order and the device, in [0, 1)."""
    return unit_number(f"{rollout}/{device}")


def expand(strategy: Strategy, targets: Iterable[Target]) -> Strategy:
    """Returns the strategy with one wave for each stratum, in the order of names, in place of a wave with
    `each_stratum`.
    """
    strata = sorted({target.stratum for target in targets})
    waves: list[Wave] = []
    for wave in strategy.waves:
        each = [msgspec.structs.replace(wave, each_stratum=False, stratum=name) for name in strata]
        waves += each if wave.each_stratum else [wave]
    return msgspec.structs.replace(strategy, waves=tuple(waves))


def plan_members(
    rollout: str, targets: Sequence[Target], strategy: Strategy, confirmed: Mapping[str, VersionRef]
) -> tuple[Member, ...]:
    """Returns the members in the order of their turn.

    A wave has at least one device while devices remain, except a wave that follows a shadow wave. `confirmed` maps a
    device to its last confirmed version. `strategy` is expanded.
    """
    ordered = sorted(targets, key=lambda target: rank(rollout, target.device))
    members: list[Member] = []
    taken: set[str] = set()
    for number, wave in enumerate(strategy.waves):
        chosen = [target for target in _chosen(wave, ordered) if target.device not in taken]
        after_shadow = number > 0 and strategy.waves[number - 1].mode == "shadow"
        if not chosen and not after_shadow:
            chosen = [target for target in ordered if target.device not in taken][:1]
        taken |= {target.device for target in chosen}
        members += [member_of(target, number, confirmed) for target in chosen]
    return tuple(members)


def member_of(target: Target, wave: int, confirmed: Mapping[str, VersionRef], *, late: bool = False) -> Member:
    """Returns a device as a member of a wave."""
    previous = confirmed.get(target.device)
    return Member(
        device=target.device,
        wave=wave,
        stratum=target.stratum,
        digest=target.digest,
        previous_release=previous.release if previous is not None else 0,
        previous_digest=previous.digest if previous is not None else "",
        late=late,
    )


def join(
    rollout: Rollout, targets: Iterable[Target], excluded: Mapping[str, Exclusion], confirmed: Mapping[str, VersionRef]
) -> Rollout:
    """Returns the rollout with devices that match it only now, in its last wave, and with those that cannot run it."""
    joined = tuple(member_of(target, rollout.final_wave, confirmed, late=True) for target in targets)
    if not joined and not excluded:
        return rollout
    return msgspec.structs.replace(rollout, members=rollout.members + joined, excluded={**rollout.excluded, **excluded})


def _chosen(wave: Wave, ordered: Sequence[Target]) -> list[Target]:
    """Returns the devices that a wave selects; devices of earlier waves may be among them."""
    if wave.percent is not None and not (wave.stratum or wave.selector):
        return _percent_of_each(ordered, wave.percent)
    if wave.count is not None:
        return list(ordered[: wave.count])
    if wave.devices:
        return [target for target in ordered if target.device in wave.devices]
    if wave.stratum:
        return [target for target in ordered if target.stratum == wave.stratum]
    return [target for target in ordered if wave.selector.items() <= target.labels.items()]


def _percent_of_each(ordered: Sequence[Target], percent: int) -> list[Target]:
    """Returns the first `percent` of each stratum, rounded up, so that each kind of device is included."""
    sizes: dict[str, int] = {}
    for target in ordered:
        sizes[target.stratum] = sizes.get(target.stratum, 0) + 1
    left = {stratum: math.ceil(size * percent / 100) for stratum, size in sizes.items()}
    found = []
    for target in ordered:
        if left[target.stratum]:
            left[target.stratum] -= 1
            found.append(target)
    return found
