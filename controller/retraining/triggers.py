"""The triggers of a retraining: time, new labels, a drop of labelled quality, alerts, a person.

Decides only whether something is proposed: triggers never start a training. Refuses to know costs and limits.
"""

from controller.gates.champion import UNITS
from controller.retraining.facts import Facts
from controller.retraining.model import Proposal, Weighed
from controller.retraining.policy import RetrainingPolicy, span


def proposals(policy: RetrainingPolicy, facts: Facts, weighed: Weighed | None, now: float) -> tuple[Proposal, ...]:
    """All proposals of this moment; `now` is seconds since 1970."""
    found = [each for each in facts.asked if each.trigger != "alert" or policy.triggers.alerts]
    since = max([facts.champion_at, *(each.ended_at for each in facts.past)])
    triggers = policy.triggers
    if triggers.every_s and now - since >= triggers.every_s:
        found.append(Proposal(trigger="time", detail=f"{span(now - since)} since the champion or the newest attempt"))
    if triggers.new_labels and facts.new_labels >= triggers.new_labels:
        found.append(Proposal(trigger="labels", detail=f"{facts.new_labels} new labels"))
    if triggers.decay and weighed is not None and weighed.decay.low > policy.quality.tolerated:
        what = "labelled quality fell" if facts.classifies else "the error on labels grew"
        by = f"{100 * weighed.decay.value:.1f} {UNITS[facts.classifies]}"
        found.append(Proposal(trigger="decay", detail=f"{what} by {by}"))
    return tuple(found)
