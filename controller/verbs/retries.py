"""Tries the release again only on the devices on which a rollout failed.

Decides which devices: members that ended failed, rejected, silent or regressed and still belong to the fleet. Their
quarantine from this release is lifted, because a person asks for it. Refuses to know HTTP.
"""

import msgspec

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.rollout.endings import named
from controller.rollout.model import FINAL, Rollout, Wave
from controller.rollout.outcome import FAILURES
from controller.rollout.words import devices_of
from controller.state import State
from controller.verbs.rollouts import Retried, find, may_start, refuse_overlap, start


def retry_failed(state: State, name: str, *, actor: str) -> Rollout:
    """Starts a rollout of the same release to the devices that failed: one wave, with the same rules and trial.

    BadInput `unknown_rollout`, `rollout_conflict` if it has not ended or no device has failed, and as `start`.
    """
    before = find(state, name)
    if before.status not in FINAL:
        raise BadInput(
            Code.ROLLOUT_CONFLICT,
            f"{name} is {before.status}: wait until it has ended, or abort it; what has failed is tried again then",
        )
    failed = _failed(state, before)
    if not failed:
        raise BadInput(Code.ROLLOUT_CONFLICT, f"no device of {name} has failed: there is nothing to try again")
    refuse_overlap(state, before.model)
    may_start(state, before.model, before.release, again=True)
    _unquarantine(state, before, failed, actor=actor)
    last = before.strategy.waves[-1]
    strategy = msgspec.structs.replace(before.strategy, waves=(Wave(percent=100, soak_s=last.soak_s),))
    return start(
        state,
        before.model,
        before.release,
        strategy,
        {},
        again=True,
        actor=actor,
        retried=Retried(name, tuple(failed)),
    )


def _failed(state: State, rollout: Rollout) -> list[str]:
    """Returns members that failed, are still in the fleet and do not run the release now."""
    endings, durable = state.world.durable.endings.get(rollout.id, {}), state.world.durable
    found = []
    for member in rollout.members:
        ending, twin = endings.get(member.device), durable.twins.get(member.device)
        if ending is None or ending.outcome not in FAILURES or twin is None or member.device in durable.retired:
            continue
        reported = twin.reported.get(rollout.model)
        stable = reported.stable if reported is not None else None
        if stable is None or not rollout.carries(stable.digest):
            found.append(member.device)
    return found


def _unquarantine(state: State, rollout: Rollout, devices: list[str], *, actor: str) -> None:
    """Allows the release on these devices again; their other quarantines stay."""
    quarantine = state.world.durable.quarantine
    lifted = []
    for device in devices:
        known = quarantine.get(device, {})
        kept = {digest: where for digest, where in known.items() if not rollout.carries(digest)}
        if kept != known:
            quarantine[device] = kept
            lifted.append(device)
    if lifted:
        state.records.save(state.world.durable, (), (), lifted)
        words = f"{rollout.model} v{rollout.release} on {devices_of(len(lifted))}: {named(lifted)}"
        state.journal.audit(stamp(), actor, "device unquarantine", rollout.id, words)
