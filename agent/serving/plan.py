"""Which versions of a model are to be loaded side by side: stable, a trial, a shadow.

Decides it from the trial's policy alone. Refuses to know how a version is loaded: `lineup` does it.
"""

import msgspec

from agent.core.model import Assignment
from contract.errors import Code, WorldError


class Plan(msgspec.Struct, frozen=True):
    """Which versions are loaded, and the purpose of each."""

    answers: Assignment | None
    beside: Assignment | None = None
    """Answers the requests that are not the trial's, and those that the trial's process could not answer."""
    shadow: Assignment | None = None
    """Repeats inferences, so that both answers can be compared."""
    reverse: Assignment | None = None
    """Stable as a shadow of the trial; the trial also serves without it."""
    stable: Assignment | None = None
    """The version for which callers were made, during a trial."""


def plan_lineup(wanted: Assignment | None, stable: Assignment | None, *, in_trial: bool) -> Plan:
    """Returns the plan for serving `wanted`. WorldError `shadow_alone` for a shadow without a version to run beside."""
    if wanted is None or not in_trial:
        return Plan(wanted)
    if wanted.policy.mode == "shadow":
        if stable is None:
            raise WorldError(Code.SHADOW_ALONE, f"{wanted.model} serves nothing that a shadow could be compared with")
        return Plan(stable, shadow=wanted, stable=stable)
    shared = wanted.policy.traffic_share < 1 or wanted.policy.isolated
    reverse = stable if wanted.policy.reverse_share else None
    return Plan(wanted, beside=stable if shared else None, reverse=reverse, stable=stable)
