"""Compares two rollouts: what they brought, how they ended, the verdicts of their rules, and the failed devices of
each.

Decides what is compared. Refuses to say which of them was better.
"""

import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from contract.wire import Message
from controller.reconcile.membership import facts_of
from controller.rollout.endings import Ending
from controller.rollout.model import FINAL, Rollout
from controller.rollout.outcome import FAILURES, MemberOutcome, outcome_of
from controller.rollout.verdict import RuleVerdict
from controller.state import State
from controller.verbs.rollouts import find

MAX_DEVICES = 100
"""The most devices in each list."""


class ComparedRow(Message, frozen=True):
    """One fact about both rollouts, in words."""

    what: str
    left: str
    right: str


class FailedInOne(Message, frozen=True):
    """A device that failed in at least one of the two."""

    device: str
    left: str
    """Its code there, or the outcome if it has no code; empty: it was no member."""
    right: str


class RolloutComparison(Message, frozen=True):
    """The comparison of two rollouts."""

    left: str
    right: str
    rows: tuple[ComparedRow, ...]
    devices: tuple[FailedInOne, ...]
    """The first 100 that failed in one of them."""
    devices_more: int


def compare(state: State, left: str, right: str) -> RolloutComparison:
    """Compares two rollouts. BadInput `unknown_rollout`."""
    pair = find(state, left), find(state, right)
    words = [_words(state, each) for each in pair]
    verdicts = [_newest_verdicts(state, each) for each in pair]
    rows = [ComparedRow(what=what, left=text, right=words[1][what]) for what, text in words[0].items()]
    rules = sorted({*verdicts[0], *verdicts[1]})
    rows += [
        ComparedRow(what=f"rule {rule}", left=verdicts[0].get(rule, ""), right=verdicts[1].get(rule, ""))
        for rule in rules
    ]
    failed = list(_failed(state, *pair))
    return RolloutComparison(
        left=left,
        right=right,
        rows=tuple(rows),
        devices=tuple(failed[:MAX_DEVICES]),
        devices_more=max(0, len(failed) - MAX_DEVICES),
    )


def _words(state: State, rollout: Rollout) -> dict[str, str]:
    outcomes = Counter(_outcomes(state, rollout).values())
    failed = sum(outcomes[word] for word in FAILURES)
    known = sum(outcomes.values())
    return {
        "version": f"{rollout.model} v{rollout.release}",
        "strategy": rollout.strategy.name,
        "status": rollout.status.replace("_", " "),
        "reason": rollout.reason,
        "begun": rollout.created_at[:16],
        "by": rollout.created_by,
        "wave": f"{rollout.wave + 1} of {rollout.final_wave + 1}",
        "devices": str(len(rollout.members)),
        "left out": str(len(rollout.excluded)),
        "outcomes": ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in outcomes.most_common()),
        "failed": f"{failed} of {known}" + (f", {failed / known:.1%}" if known else ""),
    }


def _outcomes(state: State, rollout: Rollout) -> dict[str, MemberOutcome]:
    kept: dict[str, Ending] = state.world.durable.endings.get(rollout.id, {})
    if rollout.status in FINAL:
        return {device: ending.outcome for device, ending in kept.items()}
    now = time.time()
    facts = facts_of(state.world, rollout, now)
    return {each.device: outcome_of(rollout, each, facts[each.device], now) for each in rollout.members}


def _newest_verdicts(state: State, rollout: Rollout) -> dict[str, str]:
    """Returns by rule and stratum the newest verdict and its sentence, also of an ended rollout."""
    found: dict[str, str] = {}
    for _, body in state.telemetry.verdicts(rollout.id):
        verdict = msgspec.json.decode(body, type=RuleVerdict)
        where = f" on {verdict.stratum}" if verdict.stratum else ""
        found[f"{verdict.metric}{where}"] = f"{verdict.word.replace('_', ' ')}: {verdict.detail}"
    return found


def _failed(state: State, left: Rollout, right: Rollout) -> Iterable[FailedInOne]:
    endings = [state.world.durable.endings.get(each.id, {}) for each in (left, right)]
    members = [{member.device for member in each.members} for each in (left, right)]
    devices = sorted({device for kept in endings for device, each in kept.items() if each.outcome in FAILURES})
    for device in devices:
        said = [
            (kept[device].code or kept[device].outcome) if device in kept else "undecided" if device in among else ""
            for kept, among in zip(endings, members, strict=True)
        ]
        yield FailedInOne(device=device, left=said[0], right=said[1])
