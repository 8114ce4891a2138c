"""The state of one device in a rollout, from its own reports.

Decides what is success, what is a failure and of which kind, and what is not counted. Refuses to know other
devices.
"""

from typing import Literal

from contract.errors import Code
from contract.messages import UpdateOutcome
from controller.fleet.twin import Assigned
from controller.rollout.facts import DeviceFact
from controller.rollout.model import Member, Rollout
from controller.rollout.pinned import is_left_alone
from controller.rollout.plan import unit_hash

MemberOutcome = Literal[
    "waiting",
    "pending",
    "succeeded",
    "failed",
    "rejected",
    "silent",
    "regressed",
    "absent",
    "stopped",
    "sent_back",
    "retired",
    "pinned",
]
"""waiting: not its turn. pending: to be offered, or offered and undecided. rejected: its probe or its own
configuration refused the release. silent: it got the offer and never answered. regressed: it had confirmed and runs
another version now. absent: offline before it could begin, or its stable version fails as much; not counted.
stopped: taken out with its stratum or wave. sent_back: had or fetched the release when the rollout was ended; an
ending only. retired: it has left the fleet; not counted. pinned: a person holds it at another release, or at its
present one during a roll back; not counted."""

FAILURES: frozenset[MemberOutcome] = frozenset({"failed", "rejected", "silent", "regressed"})
DECIDED: frozenset[MemberOutcome] = FAILURES | {"succeeded", "absent", "pinned"}
"""Outcomes that hold until the device reports otherwise."""

RETRYABLE = frozenset(
    {
        Code.TRANSFER_STALLED,
        Code.DISK_FULL,
        Code.DISK_FAILED,
        Code.MEMORY_SHORT,
        Code.PROBE_TIMEOUT,
        Code.TRIAL_INCONCLUSIVE,
        Code.DEVICE_SICK,
    }
)
"""Failures that may pass by themselves."""


def outcome_of(rollout: Rollout, member: Member, fact: DeviceFact, now: float) -> MemberOutcome:
    """Returns the state of a member at `now`.

    Success: the device reports the rollout's digest as stable; in a shadow wave, that the shadow has passed.
    """
    if (left_out := _left_out(rollout, member, fact)) is not None:
        return left_out
    state, assigned = fact.state, fact.assigned
    if state is not None and state.stable is not None and rollout.carries(state.stable.digest):
        return "succeeded"
    if assigned is None or assigned.release != rollout.release:
        return "pending"
    ended = ended_in(fact)
    if ended is not None:
        return _decided(rollout, assigned, ended)
    return _undecided(rollout, fact, assigned, now)


def _left_out(rollout: Rollout, member: Member, fact: DeviceFact) -> MemberOutcome | None:
    """Returns the outcome of a member without a present order; None for the others."""
    if fact.retired:
        return "retired"
    if is_left_alone(rollout, member, fact):
        return "pinned"
    if member.wave > rollout.wave:
        return "waiting"
    return "stopped" if rollout.is_stopped(member) else None


def mode_of(rollout: Rollout) -> str:
    """The mode of the wave: `serve` or `shadow`."""
    return rollout.strategy.waves[rollout.wave].mode


def retry_at(rollout: Rollout, fact: DeviceFact) -> float | None:
    """Returns when a device that has failed for a reason that may pass gets the offer again; None for never.

    Doubled each time, plus up to half of that by the device's own hash: devices that failed at once (a full store, a
    site's link) do not all retry at once.
    """
    assigned = fact.assigned
    if assigned is None or assigned.release != rollout.release or assigned.attempt >= rollout.strategy.attempts:
        return None
    ended = ended_in(fact)
    if ended is None or ended.code not in RETRYABLE:
        return None
    pause_s = rollout.strategy.retry_s * 2.0 ** (assigned.attempt - 1)
    return assigned.offered_at + pause_s * (1 + unit_hash(rollout.id, fact.device) / 2)


def ended_in(fact: DeviceFact) -> UpdateOutcome | None:
    """Returns how the device's update to this generation or a later one, and to exactly this artifact, ended; else
    None.

    A restored controller may use a number again that it had given to another version before.
    """
    assigned, ended = fact.assigned, fact.state.outcome if fact.state is not None else None
    if ended is None or assigned is None or ended.generation < assigned.generation:
        return None
    return ended if assigned.digest in ("", ended.version.digest) else None


def _decided(rollout: Rollout, assigned: Assigned, ended: UpdateOutcome) -> MemberOutcome:
    if ended.result == "confirmed":
        return "regressed"  # it runs another version now
    if ended.result == "shadowed":
        return "succeeded" if mode_of(rollout) == "shadow" else "pending"
    if ended.code in RETRYABLE and assigned.attempt < rollout.strategy.attempts:
        return "pending"
    if ended.code == Code.DEVICE_SICK:
        return "absent"  # its stable version fails as much, so the release is not judged by it
    return "rejected" if ended.result == "rejected" else "failed"


def _undecided(rollout: Rollout, fact: DeviceFact, assigned: Assigned, now: float) -> MemberOutcome:
    waited_s = now - assigned.offered_at
    begun = fact.state is not None and fact.state.generation >= assigned.generation
    if not begun:
        if waited_s <= rollout.strategy.start_s:
            return "pending"
        return "absent" if fact.presence == "offline" else "silent"
    if waited_s <= rollout.strategy.deadline_s:
        return "pending"
    return "failed" if fact.presence == "online" else "silent"


def at_now(rollout: Rollout, fact: DeviceFact) -> str:
    """Returns the phase of a device, in its own words if it has sent any."""
    state = fact.state
    if fact.assigned is None or fact.assigned.rollout != rollout.id:
        return "not offered yet"
    if fact.presence != "online":
        return fact.presence
    if state is None or state.generation < fact.assigned.generation:
        return "has not begun"
    words = " ".join(each for each in (state.code, state.detail) if each)
    return f"{state.phase}: {words}" if words else state.phase
