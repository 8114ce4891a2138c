"""Rules with a name as effects by device: a number that the application measures, or the fraction of one class in a
classifier's answers.

Decides which columns a rule reads, the unit in which its effect is estimated, and how two directions are one rule. A
number has its own unit, so it is divided by what devices without the release report: their mean if a rule is
relative, else the root of their mean square. Refuses to know sentences and where rows come from.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from contract.messages import ModelInterval
from controller.rollout.by_device import Assumed, Effect, Sample, effect_of
from controller.rollout.evidence import Compared, levels, rows_as_sample
from controller.rollout.model import NAMED_METRICS, NUMBER_METRICS, Rule
from controller.rollout.rows import ANSWERS, Flags, Numbers, Rows, class_column, metric_columns, sums_by

OF_A_CLASS = Assumed(levels=0.1, differences=0.02)
"""Fractions of a class differ by 10 points between devices and move by 2 by themselves."""
LEVELS = 0.2
"""The standard deviation between devices of a number whose spread is unknown, as a fraction of its size."""
MOVES = 0.2
"""How much devices move by themselves, as a fraction of how far they are apart: 15 to 30 % for the other metrics."""
DEVICES_FOR_LEVELS = 5
"""The number of devices from which on a fleet's own spread is used."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Change:
    """How much the number or fraction of a rule has changed."""

    effect: Effect
    """The change of a fraction in the direction in which it moved; otherwise above 0 for the harm in the rule."""
    scale: float
    """The factor from the effect to the unit of the rule's threshold."""
    is_up: bool
    """Whether it is larger than without the release."""
    release: float | None
    """The mean of the release's numbers, or its fraction of answers."""
    beside: float | None
    """The same without the release, since it was first seen."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """The rows of one rule, with numbers in the unit of the effect."""

    sample: Sample
    assumed: Assumed
    scale: float
    """The number's own unit in that of the effect."""

    def in_unit(self, rule: Rule) -> float:
        """Returns the factor from an effect to the unit of the rule's threshold."""
        return self.scale if is_absolute(rule) else 1.0


def rows_for(rules: Iterable[Rule]) -> Rows:
    """Returns rows with the names that these rules ask for, and no other names."""
    named = [rule for rule in rules if rule.metric in NAMED_METRICS]
    metrics = dict.fromkeys(rule.name for rule in named if rule.metric in NUMBER_METRICS)
    return Rows(metrics, dict.fromkeys(rule.name for rule in named if rule.metric == "class_share"))


def asks_for_answers(rules: Iterable[Rule]) -> bool:
    """Whether a rule reads a classifier's answers, which are stored apart from the sums."""
    return any(rule.metric == "class_share" for rule in rules)


def is_absolute(rule: Rule) -> bool:
    """Whether a rule's threshold is in the unit of the number itself."""
    return rule.metric in NUMBER_METRICS and rule.change == "absolute"


def directions(rule: Rule) -> int:
    """Returns the number of tests in one rule: two directions for a fraction."""
    return 2 if rule.metric == "class_share" else 1


def count_in(rule: Rule, interval: ModelInterval) -> int:
    """Returns how many numbers or answers one message holds for a rule."""
    if rule.metric == "class_share":
        return sum(interval.predictions.values())
    one = interval.metrics.get(rule.name)
    return one.count if one is not None else 0


def total_of(rule: Rule, found: Compared) -> Numbers:
    """The same by row, shape (n,)."""
    return found.table.column(ANSWERS if rule.metric == "class_share" else metric_columns(rule.name)[0])


def change_of(rule: Rule, found: Compared) -> Change | None:
    """Returns what has changed; None without both sides at the same time, or if a relative rule has no mean above 0."""
    scaled = sample_of(rule, found)
    effect = effect_of(scaled.sample, scaled.assumed) if scaled is not None else None
    if scaled is None or effect is None:
        return None
    release, beside = (None if level is None else level * scaled.scale for level in levels(scaled.sample))
    if rule.metric == "class_share":
        is_up = effect.value >= 0
        return Change(effect if is_up else _opposite(effect), 1.0, is_up, release, beside)
    if rule.metric == "metric_decrease":
        release, beside = (None if level is None else -level for level in (release, beside))
    is_up = (effect.value >= 0) == (rule.metric == "metric_increase")
    return Change(effect, scaled.in_unit(rule), is_up, release, beside)


def sample_of(rule: Rule, found: Compared) -> Scaled | None:
    """Returns the sample of a rule; None if a relative rule has no mean above 0 to compare with."""
    if rule.metric == "class_share":
        part = found.table.column(class_column(rule.name))
        return Scaled(rows_as_sample(found, total_of(rule, found), part, part, relative=False), OF_A_CLASS, 1.0)
    total, value, square = (found.table.column(name) for name in metric_columns(rule.name))
    scale = _scale(rule, ~found.table.treated, total, value, square)
    if scale is None:
        return None
    sign = -1.0 if rule.metric == "metric_decrease" else 1.0
    plain = rows_as_sample(found, total, sign * value / scale, square / scale**2, relative=False)
    sample = replace(plain, usual_variance=_usual_variance(plain))
    return Scaled(sample, _assumed(sample), scale)


def has_no_mean(rule: Rule, found: Compared) -> bool:
    """Whether a relative rule's numbers without the release have no mean above 0 to compare with."""
    beside = total_of(rule, found)[~found.table.treated]
    return bool(beside.sum()) and sample_of(rule, found) is None


def _scale(rule: Rule, beside: Flags, total: Numbers, value: Numbers, square: Numbers) -> float | None:
    """Returns the divisor of numbers, from those without the release; None if it is no usable size."""
    count = float(total[beside].sum())
    if not count:
        return None
    if not is_absolute(rule):
        mean = float(value[beside].sum()) / count
        return mean if mean > _SMALLEST else None
    return math.sqrt(float(square[beside].sum()) / count) or 1.0


def _usual_variance(sample: Sample) -> float:
    """Returns the variance of one number within a device and an interval, of all rows."""
    own = np.maximum(0.0, sample.square - sample.value**2 / np.maximum(sample.total, 1))
    degrees = float((sample.total - 1).sum())
    return float(own.sum()) / degrees if degrees > 0 else 1.0


def _assumed(sample: Sample) -> Assumed:
    """Returns how far devices are apart without the release, and how much they are therefore assumed to move."""
    own = ~sample.treated
    totals, values = (
        sums_by(sample.device[own], each[own], len(sample.first)) for each in (sample.total, sample.value)
    )
    known = totals > 0
    if np.count_nonzero(known) < DEVICES_FOR_LEVELS:
        return Assumed(LEVELS, MOVES * LEVELS)
    spread = float(np.std(values[known] / totals[known], ddof=1))
    return Assumed(spread, MOVES * spread)


def _opposite(effect: Effect) -> Effect:
    return replace(effect, value=-effect.value, moved=-effect.moved, placebo=-effect.placebo)
