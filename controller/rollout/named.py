"""Rules with a name: an application's own number, and one class's part of a classifier's answers, as effects by device.

Decides which columns a rule reads, in which unit its effect is estimated, and how two directions are one rule. A number
has a unit of its own, so it is divided by what devices without the release report: their mean where a rule is relative,
else the root of their mean square. Refuses to know sentences and where rows come from.
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
"""Shares of a class lie 10 points apart between devices and move by 2 by themselves."""
LEVELS = 0.2
"""Of a number whose spread between devices is not known: their standard deviation, as a part of its size."""
MOVES = 0.2
"""How far devices move by themselves, as a part of how far they lie apart: 15 to 30 % for the other metrics."""
DEVICES_FOR_LEVELS = 5
"""Devices from which on a fleet's own spread is gone by."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Change:
    """How far what a rule asks for has changed."""

    effect: Effect
    """Of a share in the direction in which it moved; else above 0 for the harm that the rule is about."""
    scale: float
    """What the effect is multiplied by for the unit of the rule's threshold."""
    is_up: bool
    """Whether there is more of it than without the release."""
    release: float | None
    """The mean of the release's numbers, or its share of answers."""
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
        """What an effect is multiplied by for the unit of the rule's threshold."""
        return self.scale if is_absolute(rule) else 1.0


def rows_for(rules: Iterable[Rule]) -> Rows:
    """Rows that hold what these rules ask for by name, and nothing else by name."""
    named = [rule for rule in rules if rule.metric in NAMED_METRICS]
    metrics = dict.fromkeys(rule.name for rule in named if rule.metric in NUMBER_METRICS)
    return Rows(metrics, dict.fromkeys(rule.name for rule in named if rule.metric == "class_share"))


def asks_for_answers(rules: Iterable[Rule]) -> bool:
    """Whether a rule reads a classifier's answers, which lie apart from the sums."""
    return any(rule.metric == "class_share" for rule in rules)


def is_absolute(rule: Rule) -> bool:
    """Whether a rule's threshold is in the unit of the number itself."""
    return rule.metric in NUMBER_METRICS and rule.change == "absolute"


def directions(rule: Rule) -> int:
    """Tests that one rule makes: both ways for a share."""
    return 2 if rule.metric == "class_share" else 1


def count_in(rule: Rule, interval: ModelInterval) -> int:
    """How many numbers or answers one message holds for a rule."""
    if rule.metric == "class_share":
        return sum(interval.predictions.values())
    one = interval.metrics.get(rule.name)
    return one.count if one is not None else 0


def total_of(rule: Rule, found: Compared) -> Numbers:
    """The same by row, shape (n,)."""
    return found.table.column(ANSWERS if rule.metric == "class_share" else metric_columns(rule.name)[0])


def change_of(rule: Rule, found: Compared) -> Change | None:
    """What has changed; None without both sides at the same time, or where a relative rule has no mean above 0."""
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
    """What a rule looks at; None where a relative rule has no mean above 0 to be relative to."""
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
    """Whether a relative rule's numbers without the release have no mean above 0 to be relative to."""
    beside = total_of(rule, found)[~found.table.treated]
    return bool(beside.sum()) and sample_of(rule, found) is None


def _scale(rule: Rule, beside: Flags, total: Numbers, value: Numbers, square: Numbers) -> float | None:
    """What numbers are divided by, from those without the release; None where that is no size to compare with."""
    count = float(total[beside].sum())
    if not count:
        return None
    if not is_absolute(rule):
        mean = float(value[beside].sum()) / count
        return mean if mean > _SMALLEST else None
    return math.sqrt(float(square[beside].sum()) / count) or 1.0


def _usual_variance(sample: Sample) -> float:
    """Variance of one number within a device and a stretch of time, of all rows."""
    own = np.maximum(0.0, sample.square - sample.value**2 / np.maximum(sample.total, 1))
    degrees = float((sample.total - 1).sum())
    return float(own.sum()) / degrees if degrees > 0 else 1.0


def _assumed(sample: Sample) -> Assumed:
    """How far devices lie apart without the release, and from that how far they are taken to move."""
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
