"""What a rollout may do with a device on which a person holds the model at one release.

Decides that no rollout, roll back or retry moves a pinned device: neither to another release nor back. It counts
neither way, and no wave waits for it. Refuses to know who has pinned it, and how a pin brings a device to its release.
"""

from controller.rollout.facts import DeviceFact
from controller.rollout.model import RETURNING, Member, Rollout


def is_held_elsewhere(rollout: Rollout, fact: DeviceFact) -> bool:
    """Whether a pin holds the device at another release than the rollout's."""
    return fact.pinned_at not in (0, rollout.release)


def is_left_alone(rollout: Rollout, member: Member, fact: DeviceFact) -> bool:
    """Whether the rollout leaves a member where its pin holds it: now, or on the way back."""
    goes_back = rollout.status in RETURNING or rollout.is_stopped(member)
    return is_held_elsewhere(rollout, fact) or (goes_back and fact.pinned_at != 0)


def may_have(fact: DeviceFact, release: int) -> bool:
    """Whether a device may be offered a release: any without a pin, else that of the pin. Release 0 is none."""
    return fact.pinned_at in (0, release)
