"""The end of a wave by an operator's order: whether it can end now, and if not, why not.

Decides that undecided devices delay no wave but the last one, because nothing would judge them afterwards. Refuses to
know the operator.
"""

from msgspec.structs import replace

from controller.rollout.decide import Facts, after_wave, waits_for_proof
from controller.rollout.endings import named
from controller.rollout.model import Rollout
from controller.rollout.outcome import at_now, outcome_of
from controller.rollout.words import devices_have, devices_of


def why_not_promoted(rollout: Rollout, facts: Facts, now: float) -> str:
    """Says what a wave that an operator wants to end waits for; empty if it can end."""
    if rollout.wave < rollout.final_wave:
        missing = waits_for_proof(rollout, facts)
        return (
            ""
            if not missing
            else (
                f"{devices_of(len(missing))} of later waves must still show since booting that the way back is whole: "
                f"{named(missing)}; they show it with a heartbeat, or set preflight = false in the strategy"
            )
        )
    pending = [
        f"{member.device} ({at_now(rollout, facts[member.device])})"
        for member in rollout.members
        if outcome_of(rollout, member, facts[member.device], now) == "pending"
    ]
    return (
        ""
        if not pending
        else (
            f"it is the last wave, after which nothing is judged, and {devices_have(len(pending))} not decided: "
            f"{named(pending)}; wait for them, or abort it: what has confirmed the release keeps it"
        )
    )


def why_not_unseen(rollout: Rollout, facts: Facts, now: float) -> str:
    """Says why a wave is not ended by an order that does not name it; empty if it may be.

    A wave without any decided device has just begun: a second or late promotion was meant for the wave before.
    """
    words = {
        outcome_of(rollout, member, facts[member.device], now)
        for member in rollout.members
        if member.wave == rollout.wave
    }
    if words - {"pending", "waiting"}:
        return ""
    number = rollout.wave + 1
    return f"no device of it has decided yet; to end it all the same, name it: edgeward rollout promote --wave {number}"


def promoted(rollout: Rollout, now: float) -> Rollout:
    """Returns the rollout with its wave ended: neither its soak nor an inconclusive rule delays it."""
    return replace(after_wave(rollout, now), promoted=rollout.wave)
