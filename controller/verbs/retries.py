"""Tries the release again only on the devices on which a rollout failed.

Decides which devices: members that ended failed, rejected, silent or regressed and still belong to the fleet. Their
quarantine from this release is lifted, because a person requests this. Refuses to know HTTP.
"""

import time

import msgspec

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.reconcile.membership import facts_of
from controller.rollout.endings import named
from controller.rollout.model import FINAL, Rollout, Wave
from controller.rollout.outcome import FAILURES, outcome_of
from controller.rollout.words import devices_of
from controller.state import State
from controller.verbs.rollouts import Retried, end_if_only_absent, find, may_start, refuse_overlap, start


def retry_failed(state: State, name: str, *, actor: str) -> Rollout:
    """Starts a rollout of the same release to the devices that failed: one wave, with the same rules and trial.

    A roll back that is open only for absent devices ends first, as for any newer rollout: they get their order when
    they return. BadInput `unknown_rollout`, `rollout_conflict` if it has not ended or no device has failed, and as
    `start`.
    """
    end_if_only_absent(state, find(state, name).model)
    before = find(state, name)
    if before.status not in FINAL:
        raise BadInput(Code.ROLLOUT_CONFLICT, _why_open(state, before))
    failed = _failed(state, before)
    if not failed:
        words = f"no device of {name} has failed that is not pinned elsewhere: there is nothing to try again"
        raise BadInput(Code.ROLLOUT_CONFLICT, words)
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


def _why_open(state: State, rollout: Rollout) -> str:
    """Says why a rollout that has not ended is not retried, and what to do: with names if only absent devices keep
    it open.
    """
    then = "what has failed is tried again then"
    now = time.time()
    facts = facts_of(state.world, rollout, now)
    members = (each for each in rollout.members if each.device in facts)
    pending = [each.device for each in members if outcome_of(rollout, each, facts[each.device], now) == "pending"]
    if not pending or any(facts[device].presence == "online" for device in pending):
        return f"{rollout.id} is {rollout.status}: wait until it has ended, or abort it; {then}"
    held = f"{devices_of(len(pending))} that cannot be reached: {named(pending)}"
    ends = f"`edgeward rollout abort {rollout.id}` ends it, and what has confirmed keeps the release"
    return f"{rollout.id} is {rollout.status} and waits only for {held}; {ends}; {then}"


def _failed(state: State, rollout: Rollout) -> list[str]:
    """Returns members that failed, are still in the fleet, not pinned elsewhere, and do not run the release now."""
    endings, durable = state.world.durable.endings.get(rollout.id, {}), state.world.durable
    found = []
    for member in rollout.members:
        ending, twin = endings.get(member.device), durable.twins.get(member.device)
        if ending is None or ending.outcome not in FAILURES or twin is None or member.device in durable.retired:
            continue
        reported = twin.reported.get(rollout.model)
        stable = reported.stable if reported is not None else None
        pin = twin.pins.get(rollout.model)
        held = pin is not None and pin.release != rollout.release
        if not held and (stable is None or not rollout.carries(stable.digest)):
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
