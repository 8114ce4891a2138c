"""The verdicts of Edgeward until November 2026, frozen: inferences counted as independent, matched by kind and time.

The benchmark `verdicts` runs it on the same seeds as today's verdicts, so that the difference can be seen. Nothing else
may import it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from contract.histogram import quantile_us, upper_edge_us
from contract.sequential import beyond_chance, ratio_beyond, variance_of_mean, variance_of_ratio
from controller.rollout.facts import Sums
from controller.rollout.model import Rule

FALSE_ALARM = 0.01
"""The chance that a rule ever stops a rollout whose release is as good as required."""


class Cell(msgspec.Struct, frozen=True):
    """One stratum in one interval: the release, and other versions that ran at the same time."""

    treated: Sums = Sums()
    control: Sums = Sums()


def fails(rule: Rule, cells: Sequence[Cell], strata: int) -> bool:
    """Whether the rule has failed."""
    samples = {"accuracy_drop": 100, "error_increase": 100}.get(rule.metric, 30)
    match rule.metric:
        case "accuracy_drop":
            drop = accuracy_drop(cells)
            enough = drop is not None and min(drop.treated, drop.control) >= samples
            return bool(enough and drop and beyond(drop.value - rule.threshold, drop.variance, strata))
        case "error_increase":
            found = error_increase(cells, rule.threshold)
            enough = found is not None and min(found.treated, found.control) >= samples
            return bool(enough and found and beyond(found.excess, found.variance, strata))
        case "latency_ratio_p95":
            ratio = latency_ratio(cells, 0.95, rule.threshold)
            return bool(ratio and ratio_is_beyond(ratio.slow, ratio.treated, 0.05, strata))
        case _:
            return _errors(rule, cells, strata)


def _errors(rule: Rule, cells: Sequence[Cell], strata: int) -> bool:
    treated = total(cell.treated for cell in cells)
    if not ratio_is_beyond(treated.errors, treated.inferences, rule.threshold, strata):
        return False
    both = [cell for cell in cells if cell.control.inferences and cell.treated.inferences]
    control, beside = total(cell.control for cell in both), total(cell.treated for cell in both)
    if ratio_of(control.errors, control.inferences).value <= rule.threshold:
        return True
    ours, theirs = (ratio_of(side.errors, side.inferences) for side in (beside, control))
    return beyond(ours.value - theirs.value, ours.variance + theirs.variance, strata)


class Difference(msgspec.Struct, frozen=True):
    """An estimate of the difference between two sides, with its variance."""

    value: float
    variance: float
    treated: int
    """The number of samples of this side that had a match."""
    control: int


def beyond(excess: float, variance: float, tests: int = 1) -> bool:
    """Tells whether an excess over the allowed value is not chance, for any number of checks.

    `tests`: the number of tests between which the chance of a false alarm is divided, one for each stratum.
    """
    return beyond_chance(excess, variance, FALSE_ALARM / tests)


def ratio_is_beyond(hits: int, samples: int, allowed: float, tests: int = 1) -> bool:
    """Whether a fraction of samples significantly exceeds the allowed one, at any number of looks; also for few
    samples.
    """
    return ratio_beyond(hits, samples, allowed, FALSE_ALARM / tests)


def ratio_of(hits: int, total: int) -> Difference:
    """Returns a ratio of samples with its variance."""
    return Difference(hits / total if total else 0.0, variance_of_ratio(hits, total), total, 0)


def accuracy_drop(cells: Iterable[Cell]) -> Difference | None:
    """Returns how much less accurate the release was than the other version in the same stratum at the same time.

    Cells are weighted as by Mantel and Haenszel. A cell with labels on one side only does not count. None if no cell
    counts.
    """
    weights = drops = variances = 0.0
    treated = control = 0
    for cell in cells:
        ours, theirs = cell.treated, cell.control
        if not ours.labelled or not theirs.labelled or ours.measured or theirs.measured:
            continue
        weight = ours.labelled * theirs.labelled / (ours.labelled + theirs.labelled)
        after, before = ratio_of(ours.correct, ours.labelled), ratio_of(theirs.correct, theirs.labelled)
        weights += weight
        drops += weight * (before.value - after.value)
        variances += weight**2 * (before.variance + after.variance)
        treated, control = treated + ours.labelled, control + theirs.labelled
    if not weights:
        return None
    return Difference(drops / weights, variances / weights**2, treated, control)


class ErrorIncrease(msgspec.Struct, frozen=True):
    """The mean absolute errors of both sides of a regression, matched, and what is beyond the allowed increase."""

    after: float
    before: float
    excess: float
    """The part of `after` beyond what is allowed, as a fraction of `after`; 0 or less for none."""
    variance: float
    treated: int
    control: int


def error_increase(cells: Iterable[Cell], allowed: float) -> ErrorIncrease | None:
    """Returns how far the release's numbers lie from the labels, compared with other versions in the same stratum at
    the same time.

    `allowed` is the fraction of the other side's mean absolute error by which the release's may be larger. Cells are
    weighted as in `accuracy_drop`; a cell with a single label on a side says nothing. None without any match.
    """
    weights = after = before = variances = 0.0
    treated = control = 0
    for cell in cells:
        ours, theirs = cell.treated, cell.control
        if ours.measured < 2 or theirs.measured < 2:
            continue
        weight = ours.measured * theirs.measured / (ours.measured + theirs.measured)
        weights += weight
        after += weight * ours.absolute_error_sum / ours.measured
        before += weight * theirs.absolute_error_sum / theirs.measured
        variances += weight**2 * (_variance(ours) + (1 + allowed) ** 2 * _variance(theirs))
        treated, control = treated + ours.measured, control + theirs.measured
    if not weights:
        return None
    mean, other, variance = after / weights, before / weights, variances / weights**2
    if mean <= 0.0:
        return ErrorIncrease(mean, other, 0.0, 1.0, treated, control)
    return ErrorIncrease(mean, other, 1 - (1 + allowed) * other / mean, variance / mean**2, treated, control)


def _variance(side: Sums) -> float:
    return variance_of_mean(side.absolute_error_sum, side.squared_error_sum, side.measured)


class LatencyRatio(msgspec.Struct, frozen=True):
    """The time for a row on both sides, in microseconds, and how many inferences took longer than is allowed."""

    after: float
    before: float
    slow: int
    """Inferences of the release that took longer than `allowed` times the other side's quantile."""
    treated: int
    control: int


def latency_ratio(cells: Sequence[Cell], quantile: float, allowed: float) -> LatencyRatio | None:
    """Compares the time for a row over cells that have both sides; None without any."""
    both = [cell for cell in cells if cell.treated.inferences and cell.control.inferences]
    treated, control = total(cell.treated for cell in both), total(cell.control for cell in both)
    counts = treated.time_for_a_row
    after, before = quantile_us(counts, quantile), quantile_us(control.time_for_a_row, quantile)
    if after is None or before is None:
        return None
    slow = sum(count for bucket, count in enumerate(counts) if upper_edge_us(bucket) > allowed * before)
    return LatencyRatio(after, before, slow, treated.inferences, control.inferences)


def total(sums: Iterable[Sums]) -> Sums:
    """Returns the sum of all."""
    found = Sums()
    for each in sums:
        found = found.plus(each)
    return found
