"""Tries the release again only on the devices on which a rollout failed.

Decides which devices: members that ended failed, rejected, silent or regressed and still belong to the fleet. Their
quarantine from this release is lifted, because a person requests this. Refuses to know HTTP.
"""

import time
from collections import Counter

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
from controller.verbs.steering import may_take


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
    failed, left_out = _failed(state, before)
    if not failed:
        raise BadInput(Code.ROLLOUT_CONFLICT, _why_none(name, left_out))
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
    then, can_abort = "what has failed is tried again then", may_take("abort", rollout)
    now = time.time()
    facts = facts_of(state.world, rollout, now)
    members = (each for each in rollout.members if each.device in facts)
    pending = [each.device for each in members if outcome_of(rollout, each, facts[each.device], now) == "pending"]
    if not pending or any(facts[device].presence == "online" for device in pending):
        abort = f", or end it by `edgeward rollout abort {rollout.id}`" if can_abort else ""
        return f"{rollout.id} is {rollout.status}: wait until it has ended{abort}; {then}"
    held = f"{devices_of(len(pending))} that cannot be reached: {named(pending)}"
    if not can_abort:
        return f"{rollout.id} is {rollout.status} and waits only for {held}; {then}"
    ends = f"`edgeward rollout abort {rollout.id}` ends it, and what has confirmed keeps the release"
    return f"{rollout.id} is {rollout.status} and waits only for {held}; {ends}; {then}"


def _why_none(name: str, left_out: Counter[str]) -> str:
    """Says why no device of an ended rollout can be tried again."""
    if not left_out:
        return f"no device of {name} has failed: there is nothing to try again"
    causes = ", ".join(f"{devices_of(count)} {cause}" for cause, count in sorted(left_out.items()))
    return f"of {name} nothing is left to try again: {causes}"


def _failed(state: State, rollout: Rollout) -> tuple[list[str], Counter[str]]:
    """Returns (members that failed and can be tried again; how many others failed, by why they cannot)."""
    endings = state.world.durable.endings.get(rollout.id, {})
    found, left_out = [], Counter[str]()
    for member in rollout.members:
        ending = endings.get(member.device)
        if ending is None or ending.outcome not in FAILURES:
            continue
        if why := _why_left_out(state, rollout, member.device):
            left_out[why] += 1
        else:
            found.append(member.device)
    return found, left_out


def _why_left_out(state: State, rollout: Rollout, device: str) -> str:
    """Returns why a device that failed is not tried again; empty if it is."""
    durable = state.world.durable
    twin = durable.twins.get(device)
    if twin is None or device in durable.retired:
        return "out of the fleet now"
    pin = twin.pins.get(rollout.model)
    if pin is not None and pin.release != rollout.release:
        return "pinned at another version"
    reported = twin.reported.get(rollout.model)
    stable = reported.stable if reported is not None else None
    return "on the release by now" if stable is not None and rollout.carries(stable.digest) else ""


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
