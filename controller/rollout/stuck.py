"""Whether a rule waits for data that can no longer come, because one of the two sides that it compares has no device.

Decides that from the members and their facts, and what a person can do about it. Refuses to know how a verdict is
made.
"""

from collections.abc import Iterable, Sequence

from controller.rollout.decide import Facts, holds
from controller.rollout.model import NAMED_METRICS, Member, Metric, Rollout
from controller.rollout.outcome import mode_of, outcome_of
from controller.rollout.verdict import HOLDS_NOTHING_UP, RuleVerdict

COMPARED_AT_ONCE: frozenset[Metric] = frozenset(("accuracy_drop", "error_increase", *NAMED_METRICS))
"""Metrics whose counts grow only while devices with and without the release measure at the same time."""


def stuck_words(rollout: Rollout, facts: Facts, verdicts: Sequence[RuleVerdict], now: float) -> str:
    """Says for which rules the count cannot grow, why, and what ends the waiting; empty if all counts can grow."""
    if rollout.status != "running" or rollout.promoted >= rollout.wave or mode_of(rollout) == "shadow":
        return ""
    present = [each for each in rollout.members if not facts[each.device].retired]
    if any(outcome_of(rollout, each, facts[each.device], now) == "pending" for each in present):
        return ""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        if _lacks_data(rollout, verdict):
            chosen = (each for each in present if verdict.stratum in ("", each.stratum))
            if missing := _missing_side(rollout, facts, chosen):
                found.setdefault(missing, []).append(verdict.metric)
    advice = f"`edgeward rollout promote {rollout.id}` or `edgeward rollout abort {rollout.id}` ends that."
    said = [f"The count of {', '.join(rules)} cannot grow: {missing}." for missing, rules in found.items()]
    return " ".join([*said, advice]) if said else ""


def _lacks_data(rollout: Rollout, verdict: RuleVerdict) -> bool:
    is_compared = rollout.strategy.rules[verdict.rule].metric in COMPARED_AT_ONCE
    return is_compared and verdict.figures is None and verdict.word not in HOLDS_NOTHING_UP


def _missing_side(rollout: Rollout, facts: Facts, members: Iterable[Member]) -> str:
    have = [holds(rollout, facts[member.device]) for member in members]
    if not any(have):
        return f"no device has v{rollout.release} any more"
    return "" if not all(have) else f"no device without v{rollout.release} is left to compare with"
