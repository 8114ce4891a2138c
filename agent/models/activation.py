"""Activation: whether the trial of a probed version may begin now, by maintenance hours and applications that hold
updates.

Decides whether it may begin, or when to ask again. Pure. Refuses to know how an application holds updates, and how
the time is read.
"""

from datetime import datetime

from agent.core.events import ActivationAllowed, ActivationHeld
from agent.core.model import Assignment, Baseline
from contract.errors import BadInput, Code
from contract.maintenance import wait_s

HOLD_LOOK_S = 5.0
"""Seconds until an application that holds updates is asked again."""
MAINTENANCE_LOOK_S = 3600.0
"""Seconds until maintenance hours that cannot be parsed are checked again."""


def activation(
    assignment: Assignment, *, held: bool, waited_s: float, local: datetime, baseline: Baseline | None
) -> ActivationAllowed | ActivationHeld:
    """Answers `Activate`. `local` is the device's wall clock.

    `waited_s` is the time in seconds since the version was ready.
    """
    policy, digest = assignment.policy, assignment.digest
    left_s = float(policy.max_hold_s) - waited_s
    if held and left_s > 0:
        words = f"an application holds updates, for at most {left_s:.0f} s more"
        return ActivationHeld(digest, HOLD_LOOK_S, Code.UPDATE_HELD, words)
    try:
        closed_s = wait_s(policy.maintenance, local)
    except BadInput as error:  # the document is signed, so the error is reported, and the hours are read again later
        return ActivationHeld(digest, MAINTENANCE_LOOK_S, error.code, error.detail)
    if closed_s > 0:
        words = f"waits for maintenance hours: {', '.join(policy.maintenance)} local time"
        return ActivationHeld(digest, closed_s, Code.OUTSIDE_MAINTENANCE, words)
    return ActivationAllowed(digest, baseline)
