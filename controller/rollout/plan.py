"""Who gets a release when: waves by a stable hash, so that a preview equals the run and a raised percent only adds."""

import hashlib
import math
from collections.abc import Mapping, Sequence

from controller.rollout.model import Member, Strategy


def rank(rollout: str, device: str) -> str:
    """The device's place in the rollout's order."""
    return hashlib.sha256(f"{rollout}/{device}".encode()).hexdigest()


def plan_members(
    rollout: str, devices: Sequence[str], strategy: Strategy, confirmed: Mapping[str, int]
) -> tuple[Member, ...]:
    """Members in order of their turn. Each wave has at least one device more than the one before, while there are any.

    `confirmed` maps a device to its last confirmed release.
    """
    ordered = sorted(devices, key=lambda device: rank(rollout, device))
    members: list[Member] = []
    for number, wave in enumerate(strategy.waves):
        until = min(len(ordered), max(math.ceil(len(ordered) * wave.percent / 100), len(members) + 1))
        members += [
            Member(device=device, wave=number, previous_release=confirmed.get(device, 0))
            for device in ordered[len(members) : until]
        ]
    return tuple(members)
