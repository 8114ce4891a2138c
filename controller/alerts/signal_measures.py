"""The measures of a model's data: breaches of its data contract, and its estimated quality while that is valid.

Decides when an estimate is beyond a limit: with its whole interval, and only while it may be believed. Refuses to know
how it was estimated: `controller.drift` does that.
"""

from collections.abc import Iterator

from controller.alerts.facts import Facts, Reading, Signal
from controller.alerts.rule import Rule


def contract_breaches(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each model, the fraction of rows that break its data contract."""
    for each in _of_kind(rule, facts, "contract_breach_ratio"):
        limit = each.limit if rule.above is None else rule.above
        if each.low > limit:
            yield _reading(each, limit, "of the rows break the data contract", f"at most {limit:.3g} of the rows do")


def estimated_quality(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each model, its quality as it is estimated without labels."""
    for each in _of_kind(rule, facts, "estimated_quality"):
        limit = each.limit if rule.below is None else rule.below
        if each.high < limit:
            yield _reading(
                each, limit, "is the quality that is estimated", f"the estimate is {limit:.3g} or better again"
            )


def _of_kind(rule: Rule, facts: Facts, kind: str) -> Iterator[Signal]:
    asked = (each for each in facts.signals if each.kind == kind and each.valid)
    return (each for each in asked if not rule.model or each.model == rule.model)


def _reading(each: Signal, limit: float, words: str, clears: str) -> Reading:
    return Reading(
        {"model": each.model}, each.value, "ratio", limit, each.n, f"rows of {each.devices} devices",
        f"{each.model}: {each.value:.3g} [{each.low:.3g}, {each.high:.3g}] {words}: {each.why}", clears,
        f"edgeward model drift {each.model}", each.low, each.high,
    )  # fmt: skip
