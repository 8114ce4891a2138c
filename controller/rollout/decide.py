"""``decide(rollout, facts, now)``: what is missing between what is and what the rollout wants.

It never remembers what it did: called again with the same facts it asks for the same again, and for nothing once the
facts have changed. At most one change of status or wave a pass. A controller that dies needs no recovery of decisions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from controller.rollout.analysis import RuleVerdict, gather, judge
from controller.rollout.facts import DeviceFact
from controller.rollout.model import FINAL, Member, OnFail, Rollout, Rule, Status

Outcome = Literal["waiting", "pending", "succeeded", "failed", "absent"]
"""waiting: not its turn. pending: offered, undecided. absent: offline when its time ran out; counts neither way."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Tell a device to run a release; 0 tells it to run none."""

    device: str
    model: str
    release: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and the rollout as it stands then."""

    rollout: Rollout
    offers: tuple[Offer, ...] = ()
    verdicts: tuple[RuleVerdict, ...] = ()


def decide(rollout: Rollout, facts: Mapping[str, DeviceFact], now: float) -> Decision:
    """One pass over one rollout. `facts` holds every member."""
    if rollout.status in FINAL or rollout.status == "proposed":
        return Decision(rollout)
    if rollout.status == "rolling_back":
        return _roll_back(rollout, facts)
    outcomes = {member.device: outcome_of(rollout, member, facts[member.device], now) for member in rollout.members}
    evidence = gather(rollout, facts.values(), {device: str(word) for device, word in outcomes.items()})
    verdicts = tuple(judge(rule, evidence) for rule in rollout.strategy.rules)
    tripped = _tripped(rollout, verdicts)
    if tripped is not None:
        return Decision(_trip(rollout, *tripped), (), verdicts)
    if rollout.status == "paused":
        return Decision(rollout, (), verdicts)
    return _advance(rollout, facts, outcomes, verdicts, now)


def outcome_of(rollout: Rollout, member: Member, fact: DeviceFact, now: float) -> Outcome:
    """Where one device stands. Success: its stable digest is the rollout's, as it says itself."""
    if member.wave > rollout.wave:
        return "waiting"
    state = fact.state
    if state is not None and state.stable is not None and state.stable.digest == rollout.digest:
        return "succeeded"
    offered = fact.assigned is not None and fact.assigned.release == rollout.release
    ended = state.outcome if state is not None else None
    if offered and fact.assigned is not None and ended is not None and ended.generation >= fact.assigned.generation:
        return "failed" if ended.result != "confirmed" else "succeeded"
    late = now - rollout.wave_began_at > rollout.strategy.deadline_s
    if late:
        return "absent" if fact.presence == "offline" else "failed"
    return "pending"


def _tripped(rollout: Rollout, verdicts: tuple[RuleVerdict, ...]) -> tuple[Rule, RuleVerdict] | None:
    pairs = zip(rollout.strategy.rules, verdicts, strict=True)
    return next(((rule, verdict) for rule, verdict in pairs if verdict.word == "fail"), None)


_STATUS_AFTER: dict[OnFail, Status] = {"pause": "paused", "roll_back": "rolling_back"}


def _trip(rollout: Rollout, rule: Rule, verdict: RuleVerdict) -> Rollout:
    reason = f"{verdict.metric}: {verdict.detail}"
    return msgspec.structs.replace(rollout, status=_STATUS_AFTER[rule.on_fail], reason=reason)


def _advance(
    rollout: Rollout,
    facts: Mapping[str, DeviceFact],
    outcomes: Mapping[str, Outcome],
    verdicts: tuple[RuleVerdict, ...],
    now: float,
) -> Decision:
    turn = rollout.devices_up_to(rollout.wave)
    offers = tuple(
        Offer(device, rollout.model, rollout.release)
        for device in turn
        if _release_of(facts[device]) != rollout.release and outcomes[device] == "pending"
    )
    if offers or any(outcomes[device] == "pending" for device in turn):
        return Decision(msgspec.structs.replace(rollout, wave_done_at=None), offers, verdicts)
    if rollout.wave_done_at is None:
        return Decision(msgspec.structs.replace(rollout, wave_done_at=now), (), verdicts)
    soaked = now - rollout.wave_done_at >= rollout.strategy.waves[rollout.wave].soak_s
    if not soaked or any(verdict.word != "pass" for verdict in verdicts):
        return Decision(rollout, (), verdicts)
    if rollout.wave >= rollout.last_wave:
        return Decision(msgspec.structs.replace(rollout, status="completed", reason=""), (), verdicts)
    promoted = msgspec.structs.replace(rollout, wave=rollout.wave + 1, wave_began_at=now, wave_done_at=None)
    return Decision(promoted, (), verdicts)


def _roll_back(rollout: Rollout, facts: Mapping[str, DeviceFact]) -> Decision:
    """To the last confirmed release, as a new and higher generation. Done when every reachable device says so."""
    touched = [member for member in rollout.members if member.wave <= rollout.wave]
    offers = tuple(
        Offer(member.device, rollout.model, member.previous_release)
        for member in touched
        if _release_of(facts[member.device]) == rollout.release
    )
    still = [
        member
        for member in touched
        if facts[member.device].presence != "offline" and _holds(rollout, facts[member.device])
    ]
    if offers or still:
        return Decision(rollout, offers)
    return Decision(msgspec.structs.replace(rollout, status="rolled_back"))


def _release_of(fact: DeviceFact) -> int:
    return fact.assigned.release if fact.assigned is not None else 0


def _holds(rollout: Rollout, fact: DeviceFact) -> bool:
    """Whether the release serves on the device, or would after a reboot."""
    if fact.state is None:
        return False
    stable = fact.state.stable.digest if fact.state.stable is not None else ""
    return rollout.digest in (fact.state.serving, stable)
