"""The gate on fairness between groups, by the definitions and names of Fairlearn, for a classifier with two labels.

Selection rate: answers that are `positive`. Equalized odds: equal true and false positive rates. Refuses to know which
differences are fair. Source: Fairlearn, `fairlearn.metrics`; computed here with numpy.
"""

from collections.abc import Callable, Mapping

import numpy as np

from contract.labels import plain_label
from contract.tensors import Array
from controller.gates.evidence import Evidence, plain_texts
from controller.gates.policy import FairnessPolicy, GatePolicy
from controller.gates.power import margin
from controller.gates.verdict import GateVerdict

Rates = Mapping[str, list[float]]
"""The value of a rate (`selection`, `true_positive`, `false_positive`) in each group, by its name."""


def demographic_parity_difference(rates: Rates) -> float:
    """The largest selection rate minus the smallest."""
    return _difference(rates["selection"])


def demographic_parity_ratio(rates: Rates) -> float:
    """The smallest selection rate divided by the largest."""
    return _ratio(rates["selection"])


def equalized_odds_difference(rates: Rates) -> float:
    """The larger of the differences of true and of false positive rates."""
    return max(_difference(rates["true_positive"]), _difference(rates["false_positive"]))


def equalized_odds_ratio(rates: Rates) -> float:
    """The smaller of the ratios of true and of false positive rates."""
    return min(_ratio(rates["true_positive"]), _ratio(rates["false_positive"]))


def equal_opportunity_difference(rates: Rates) -> float:
    """The difference of true positive rates."""
    return _difference(rates["true_positive"])


MEASURES: Mapping[str, Callable[[Rates], float]] = {
    each.__name__: each
    for each in (
        demographic_parity_difference, demographic_parity_ratio, equalized_odds_difference, equalized_odds_ratio,
        equal_opportunity_difference,
    )
}  # fmt: skip


def rates_of(labels: Array, answers: Array, groups: Array) -> Rates:
    """Returns rates of each group, in the order of `np.unique(groups)`; `labels` and `answers` are bool of shape
    (rows,).

    A rate over no rows is 0, as in Fairlearn.
    """
    found: dict[str, list[float]] = {"selection": [], "true_positive": [], "false_positive": []}
    for value in np.unique(groups):
        rows = groups == value
        found["selection"].append(_mean(answers[rows]))
        found["true_positive"].append(_mean(answers[rows & labels]))
        found["false_positive"].append(_mean(answers[rows & ~labels]))
    return found


def judge_fairness(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails beyond a limit of `fairness` in any of its groups, or if a group is not among the held-out rows.

    None without groups. Groups of fewer than `min_rows` are left out, because their figures would be chance.
    """
    limits, held = policy.fairness, evidence.held_out
    if not limits.groups:
        return None
    missing = [name for name in limits.groups if held is None or name not in held.groups]
    if held is None or missing:
        detail = f"held-out rows have no groups {', '.join(missing)}"
        return GateVerdict(
            gate="fairness", passed=False, detail=detail, remedy="push with held_out=HeldOut(..., groups=)"
        )
    faults: list[str] = []
    numbers: dict[str, float] = {}
    left_out, powers = 0, []
    positive = str(plain_label(limits.positive))
    for name in limits.groups:
        rows, small = _large_enough(held.groups[name], limits.min_rows)
        left_out += small
        labels, answers = (plain_texts(each)[rows] == positive for each in (held.labels, held.answers))
        values = held.groups[name][rows]
        rates = rates_of(labels, answers, values)
        numbers |= {f"{measure}_{name}": round(call(rates), 6) for measure, call in MEASURES.items()}
        faults += [f"{fault} between groups of {name}" for fault in _faults(limits, rates)]
        powers.append(_power(name, answers, values))
    return GateVerdict(
        gate="fairness",
        passed=not faults,
        detail=f"{'; '.join(faults) or 'within all limits'}; {left_out} groups are too small to judge",
        evidence=numbers,
        power="; ".join(powers),
        remedy="balance or reweigh the training rows, or set thresholds with fairlearn.postprocessing",
    )


def _faults(limits: FairnessPolicy, rates: Rates) -> list[str]:
    found = []
    for measure, call in MEASURES.items():
        limit, value = getattr(limits, measure), call(rates)
        if limit is None:
            continue
        if measure.endswith("_ratio") and value < limit:
            found.append(f"{measure} {value:.3g} is below {limit:g}")
        if measure.endswith("_difference") and value > limit:
            found.append(f"{measure} {value:.3g} is above {limit:g}")
    return found


def _large_enough(groups: Array, min_rows: int) -> tuple[Array, int]:
    """Returns (bool array of the rows whose group is large enough, number of groups that are too small)."""
    values, counts = np.unique(groups, return_counts=True)
    small = values[counts < min_rows]
    return ~np.isin(groups, small), len(small)


def _power(name: str, answers: Array, groups: Array) -> str:
    """Returns the difference of selection rates, beyond the limit, that the two smallest groups would
    show with 95 %.
    """
    _, counts = np.unique(groups, return_counts=True)
    if len(counts) < 2:
        return f"{name} has fewer than two groups: nothing can be caught"
    rate = min(max(_mean(answers), 0.05), 0.95)
    two = np.sort(counts)[:2]
    caught = margin(float(np.sqrt(rate * (1 - rate) * (1 / two).sum())), 1)
    return f"would catch a difference {100 * caught:.2g} points beyond the limit between groups of {name} with 95 %"


def _difference(values: list[float]) -> float:
    return max(values) - min(values) if values else 0.0


def _ratio(values: list[float]) -> float:
    return min(values) / max(values) if values and max(values) > 0 else 1.0


def _mean(flags: Array) -> float:
    return float(flags.mean()) if len(flags) else 0.0
