"""The measures of a model's data: breaches of its data contract, and its estimated quality while that is valid.

Decides when an estimate is beyond a limit: with its whole interval, and only while it is valid. Refuses to know how it
was estimated: `controller.drift` does that.
"""

from collections.abc import Iterator

from controller.alerts.facts import Facts, Reading
from controller.alerts.rule import Rule
from controller.drift.signals import Kind, Signal


def contract_breaches(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each model, the column of which the largest fraction of rows breaks its data contract."""
    worst: dict[str, Reading] = {}
    for each, value, low, high in _of_kind(rule, facts, "contract_breach_ratio"):
        limit = each.limit if rule.above is None else rule.above
        known = worst.get(each.model)
        if limit is not None and low > limit and (known is None or value > known.value):
            words, clears = "of the rows break the data contract", f"at most {limit:.3g} of the rows do"
            worst[each.model] = _reading(each, (value, low, high), limit, words, clears)
    yield from worst.values()


def estimated_quality(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each model, its estimated quality without labels."""
    for each, value, low, high in _of_kind(rule, facts, "estimated_quality"):
        limit = each.limit if rule.below is None else rule.below
        if limit is not None and high < limit:
            words, clears = "is the quality that is estimated", f"the estimate is {limit:.3g} or better again"
            yield _reading(each, (value, low, high), limit, words, clears)


def _of_kind(rule: Rule, facts: Facts, kind: Kind) -> Iterator[tuple[Signal, float, float, float]]:
    """Yields the valid signals of a kind, with value, low and high."""
    for each in facts.signals:
        if each.value is None or each.low is None or each.high is None or not each.valid:
            continue
        if each.kind == kind and rule.model in ("", each.model):
            yield each, each.value, each.low, each.high


def _reading(each: Signal, told: tuple[float, float, float], limit: float, words: str, clears: str) -> Reading:
    value, low, high = told
    because = f": {each.why}" if each.why else ""
    return Reading(
        {"model": each.model}, value, "ratio", limit, each.n, f"rows of {each.devices} devices",
        f"{each.model}: {value:.3g} [{low:.3g}, {high:.3g}] {words}{because}", clears,
        f"edgeward model drift {each.model}", low, high,
    )  # fmt: skip
