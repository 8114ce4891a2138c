"""Decides from policy and facts whether a model is trained again now.

Decides the order of the checks: a running attempt, limits, a proven gain, and its costs. It keeps no state: the
history is in the facts. Refuses to know which program trains.
"""

from controller.gates.champion import UNITS, change
from controller.retraining.facts import Facts
from controller.retraining.model import FRUITLESS, OPEN, Decision, Proposal, Reason, Retraining, Weighed, Word
from controller.retraining.policy import RetrainingPolicy, span
from controller.retraining.triggers import proposals
from controller.retraining.weigh import weigh

MAX_DOUBLINGS = 5
"""Doublings of a cool-down: it grows to at most 32 times its length, so that three days become three months."""


def decide(policy: RetrainingPolicy, facts: Facts, now: float) -> Decision | None:
    """Returns the decision about the present proposals; None if there are none. `now` is seconds since 1970."""
    weighed = weigh(policy, facts)
    proposed = proposals(policy, facts, weighed, now)
    if not proposed:
        return None
    word, reason, detail = _held_back(policy, facts, now) or _worth(policy, facts, proposed, weighed, now)
    return Decision(
        at=now,
        model=facts.model,
        champion=facts.champion,
        word=word,
        reason=reason,
        proposals=proposed,
        detail=detail + _cause(facts, proposed),
        weighed=weighed,
        classifies=facts.classifies,
    )


def _cause(facts: Facts, proposed: tuple[Proposal, ...]) -> str:
    """Says which data have moved, if the quality has fallen: people want to know that first."""
    fell = any(each.trigger in ("alert", "decay") for each in proposed)
    return f"; what moved: {facts.moved}" if fell and facts.moved else ""


def cool_down_until(policy: RetrainingPolicy, past: tuple[Retraining, ...]) -> float:
    """Returns when the next attempt may begin: the cool-down doubles with each failed attempt in a row."""
    return _until(past, policy.limits.cool_down_s)


def _until(past: tuple[Retraining, ...], least_s: float) -> float:
    """Returns when the next attempt may begin: `least_s` after the newest, doubled for each further failed one."""
    ended = [each for each in past if each.ended_at]
    if not ended:
        return 0.0
    fruitless = 0
    for each in reversed(ended):
        if each.status not in FRUITLESS:
            break
        fruitless += 1
    return ended[-1].ended_at + least_s * 2.0 ** min(MAX_DOUBLINGS, max(0, fruitless - 1))


def _held_back(policy: RetrainingPolicy, facts: Facts, now: float) -> tuple[Word, Reason, str] | None:
    """Says what forbids any training now, also one with a gain."""
    for each in facts.past:
        if each.status in OPEN:
            return "wait", "under_way", f"{each.id} is {each.status}: two at once would race for one champion"
    if facts.coming:
        return "wait", "under_way", f"v{facts.coming} has passed its gates and is on its way to the fleet"
    until, limits = cool_down_until(policy, facts.past), policy.limits
    if now < until:
        return "wait", "cool_down", f"the newest attempt has just ended: {span(until - now)} are left"
    recent = [each for each in facts.past if each.began_at and each.began_at > now - limits.budget_s]
    if len(recent) >= limits.budget:
        of = f"{len(recent)} of {limits.budget} trainings in {span(limits.budget_s)}"
        return "wait", "budget_spent", f"the budget is spent: {of}"
    sent_mb = sum(each.candidate_bytes for each in recent if each.status == "passed") * facts.devices / 1e6
    if sent_mb > limits.budget_mb:
        return "wait", "budget_spent", f"the budget is spent: {sent_mb:.0f} of {limits.budget_mb:.0f} MB to devices"
    return None


def _worth(
    policy: RetrainingPolicy, facts: Facts, proposed: tuple[Proposal, ...], weighed: Weighed | None, now: float
) -> tuple[Word, Reason, str]:
    """Decides whether the gain is shown and worth its costs; for a person's request neither is needed."""
    go: Word = "ask" if policy.approval else "train"
    asked = [each.detail for each in proposed if each.trigger == "person"]
    if asked:
        return go, "person_asks", asked[0]
    if weighed is None:
        return "no", "too_few_labels", _too_few(policy, facts)
    fell = f"{_changed(weighed, classifies=facts.classifies)} on {weighed.labels} labels"
    if weighed.decay.low <= policy.quality.tolerated:
        if (won := _has_won(policy, facts, weighed, now)) is not None:
            return go, "won_before", won
        tolerated = f"{100 * policy.quality.tolerated:g} {UNITS[facts.classifies]} that seasons may cost"
        return "no", "gain_not_shown", f"{fell}: not shown to be more than {tolerated}"
    gain = change(weighed.gain, classifies=facts.classifies)
    sums = f"expected gain {gain}, worth {weighed.worth:.0f} answers against {weighed.cost:.0f}"
    if weighed.worth <= weighed.cost:
        return "no", "not_worth_it", f"{fell}; {sums}"
    return go, "gain_shown", f"{fell}; {sums}"


def _changed(weighed: Weighed, *, classifies: bool) -> str:
    if classifies:
        return f"labelled quality changed by {change(weighed.decay, classifies=True, sign=-1)}"
    return f"the error on labels changed by {change(weighed.decay, classifies=False)}"


def _too_few(policy: RetrainingPolicy, facts: Facts) -> str:
    labels = sum(cell.labelled for cell in facts.recent)
    if labels >= policy.quality.min_labels:
        return f"no labels tell how good v{facts.champion} was when it came: there is nothing to compare with"
    return f"{labels} labels in the newest blocks, {policy.quality.min_labels} are needed"


def _has_won(policy: RetrainingPolicy, facts: Facts, weighed: Weighed, now: float) -> str | None:
    """Says why a model without a drop is trained on schedule: earlier attempts gained on average more than one costs.

    With more data a new model may be better, although the champion is as good as before. None for a model of which
    no candidate has ever passed: its time trigger only proposes.
    """
    every_s = policy.triggers.every_s
    judged = [each for each in facts.past if each.status in ("passed", "stopped")]
    wins = [max(0.0, each.gain.value) for each in judged if each.status == "passed" and each.gain is not None]
    if not wins or not every_s or now < max(facts.champion_at + every_s, _until(facts.past, every_s)):
        return None
    gain = sum(wins) / len(judged)
    worth = gain * facts.answers_per_s * policy.costs.horizon_s
    words = f"{len(wins)} of {len(judged)} attempts have won, {100 * gain:.1f} {UNITS[facts.classifies]} on the mean"
    return f"{words}, worth {worth:.0f} answers against {weighed.cost:.0f}" if worth > weighed.cost else None


def died(policy: RetrainingPolicy, attempt: Retraining, now: float) -> str:
    """Says why a running attempt counts as failed without a report of its worker; empty while it may still succeed."""
    if attempt.status != "running":
        return ""
    step = f"in step {attempt.step}" if attempt.step else "before its first step"
    if now - attempt.heard_at > policy.limits.silent_s:
        return f"the worker {attempt.worker} fell silent {step}"
    if now - attempt.began_at > policy.limits.run_s:
        return f"the pipeline hangs {step}: it ran longer than {policy.limits.run_s:.0f} s"
    return ""
