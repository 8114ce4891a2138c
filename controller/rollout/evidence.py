"""Each metric of a rule as an effect by device, with an interval that contains the true effect at every look.

Decides which counts a metric compares, and the assumptions about a fleet without enough data. `by_device`
estimates, `contract.sequential` computes intervals. Refuses to know the consequences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from contract.histogram import upper_edge_us
from contract.sequential import radius, ratio_beyond
from controller.rollout.by_device import (
    Assumed,
    Effect,
    Group,
    Sample,
    combined,
    effect_of,
    level,
    own_rows,
    surest,
)
from controller.rollout.far_device import bounded
from controller.rollout.model import Rule
from controller.rollout.noise import hit_noise
from controller.rollout.rows import Flags, Numbers, Places, Table, sums_by

FALSE_ALARM = 0.01
"""The probability that a rule ever stops a rollout of a good release."""
POWER = 0.8
SMALLEST_TIMES = 1e-9
_POWER_DISTANCE = 0.8416
"""Standard deviations above which a normal estimate stays with a probability of `POWER`."""
QUANTILE = 0.95
_QUANTILE_NOISE = 0.0009
"""Variance of the logarithm of an interpolated quantile by the width of its bucket alone."""
_QUANTILE_NOISE_OF_ONE = 1.1
"""Variance of the logarithm of a 95th percentile of one sample, of lognormal times whose logarithm has sd 0.5."""

ASSUMED = {
    "accuracy_drop": Assumed(levels=0.05, differences=0.015),
    "error_ratio": Assumed(levels=0.02, differences=0.003),
    "error_increase": Assumed(levels=0.2, differences=0.03),
    "latency_ratio_p95": Assumed(levels=0.3, differences=0.05),
    "agreement": Assumed(levels=0.05, differences=0.015),
}
"""Accuracies of a fleet's devices differ by 5 points and move by 1.5 by themselves; errors and times by 20 to 30 %."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows for a rule, and for each of D devices its stratum and when it first had the release."""

    table: Table
    stratum: Places
    """Shape (D,): the number of its stratum."""
    first: Numbers
    """Shape (D,): seconds since 1970; infinity for never."""


def first_seen(table: Table) -> Numbers:
    """By device, when the release was first seen on it, shape (D,); infinity for never."""
    first = np.full(len(table.names), math.inf)
    np.minimum.at(first, table.device[table.treated], table.start[table.treated])
    return first


def interval_of(effect: Effect, tests: int = 1) -> tuple[float, float]:
    """Returns (low, high), which contain the true effect at every look; each end is wrong with probability
    `FALSE_ALARM` at most.

    `tests`: the probability of a false alarm is divided among so many tests, one for each stratum.
    """
    half = radius(effect.variance, 2 * FALSE_ALARM / tests, effect.degrees)
    return effect.value - half, effect.value + half


def detectable(variance: float, degrees: float, tests: int = 1) -> float:
    """Returns how far an effect must exceed its limit to be found with a probability of `POWER`."""
    return radius(variance, 2 * FALSE_ALARM / tests, degrees) + _POWER_DISTANCE * math.sqrt(variance)


def ratio_is_beyond(hits: int, samples: int, allowed: float, tests: int = 1) -> bool:
    """Whether a fraction of samples is significantly above the allowed one, at any number of looks; also for few
    samples.
    """
    return ratio_beyond(hits, samples, allowed, FALSE_ALARM / tests)


def limit_of(rule: Rule) -> float:
    """A rule's threshold in the unit of its effect."""
    match rule.metric:
        case "error_increase":
            return math.log1p(rule.threshold)
        case "latency_ratio_p95":
            return math.log(max(rule.threshold, SMALLEST_TIMES))
        case "agreement":
            return 1.0 - rule.threshold
        case _:
            return rule.threshold


def accuracy_drop(found: Compared) -> Effect | None:
    """Returns how much less often the release answers right; None without labels on both sides at the same time."""
    return effect_of(accuracy_sample(found), ASSUMED["accuracy_drop"])


def accuracy_sample(found: Compared) -> Sample:
    """Returns wrong answers among those of a classifier that have a label."""
    table = found.table
    labelled = np.where(table.column("measured") > 0, 0.0, table.column("labelled"))
    return _hits(found, labelled, labelled - table.column("correct"))


def errors(found: Compared) -> Effect | None:
    """Returns the increase of failed inferences, compared with the past and with other devices; None if no version
    runs beside it.
    """
    return effect_of(failure_sample(found), ASSUMED["error_ratio"])


def failure_sample(found: Compared) -> Sample:
    """Returns failed inferences among all."""
    return _hits(found, found.table.column("inferences"), found.table.column("errors"))


def bounded_failures(found: Compared) -> tuple[int, int]:
    """Returns (inferences of the release, failed ones), with the weight of each device bounded: see `far_device`."""
    table, devices = found.table, len(found.first)
    totals, failed = (
        sums_by(table.device[table.treated], table.column(name)[table.treated], devices)
        for name in ("inferences", "errors")
    )
    part = bounded(totals)
    return round(float(part @ totals)), round(float(part @ failed))


def error_level(found: Compared) -> Effect:
    """Returns the fraction of failed inferences of the release, if there is nothing to compare it with."""
    return level(_level_of(found, found.table.treated, "inferences", "errors"), ASSUMED["error_ratio"])


def error_increase(found: Compared) -> Effect | None:
    """Returns the logarithm of how many times larger a regression's mean absolute error is; None as for
    `accuracy_drop`.
    """
    return effect_of(error_sample(found), ASSUMED["error_increase"])


def error_sample(found: Compared) -> Sample:
    """Returns absolute errors of a regression's numbers that have a label."""
    table = found.table
    sums = [table.column(name) for name in ("measured", "absolute_error_sum", "squared_error_sum")]
    return rows_as_sample(found, sums[0], sums[1], sums[2], relative=True)


def disagreement(found: Compared) -> Effect | None:
    """Returns the fraction of compared answers that differ from the other version's; None if none was compared."""
    compared = found.table.column("compared") > 0
    if not compared.any():
        return None
    group = _level_of(found, compared, "compared", "agreed")
    return level(replace(group, after=1.0 - group.after), ASSUMED["agreement"])


def latency_ratio(found: Compared) -> Effect | None:
    """Returns the logarithm of how many times longer the 95th percentile of the time for a row is; None without both
    sides.
    """
    table = found.table
    own = own_rows(table.treated, table.start, found.first[table.device])
    assumed = ASSUMED["latency_ratio_p95"]
    beginning = np.min(table.start[table.treated], initial=math.inf)
    treated = table.histograms(table.treated), table.histograms(own)
    others = table.histograms(own & (table.start >= beginning)), table.histograms(own & (table.start < beginning))
    differences = _latency_differences(found, treated, others, assumed)
    return surest(_latency_pairs(treated[0], table.histograms(~table.treated & ~own), assumed), differences)


def _latency_pairs(ours: Numbers, theirs: Numbers, assumed: Assumed) -> Effect | None:
    """Compares the release with the other version on the same devices; None if none ran beside it."""
    both = (ours.sum(axis=1) > 0) & (theirs.sum(axis=1) > 0)
    if not both.any():
        return None
    group = _quantile_group(ours[both], theirs[both])
    difference = Group(
        group.after - group.before,
        group.after_variance + group.before_variance,
        np.zeros(group.devices),
        np.full(group.devices, math.inf),
        group.samples,
        np.flatnonzero(both),
    )
    return level(difference, assumed, int(theirs[both].sum()))


def _latency_differences(
    found: Compared, treated: tuple[Numbers, Numbers], others: tuple[Numbers, Numbers], assumed: Assumed
) -> Effect | None:
    """As `by_device.differences`, for quantiles: each minus the mean of its stratum's devices without the release."""
    has_now, has_others = treated[0].sum(axis=1) > 0, others[0].sum(axis=1) > 0
    kinds = np.isin(found.stratum, found.stratum[has_others])
    has_now &= kinds
    if not has_now.any() or not has_others.any():
        return None
    now, beside = _quantile_group(treated[0], treated[1]), _quantile_group(others[0], others[1])
    known = np.isfinite(beside.before_variance) & has_others
    comparable = np.isin(found.stratum, found.stratum[known])
    usual = _mean_of_kind(found.stratum, beside.after, has_others)
    usual_past = _mean_of_kind(found.stratum, beside.before, known)
    sides = []
    for group, chosen in ((now, has_now), (beside, has_others)):
        has_past = np.isfinite(group.before_variance) & comparable
        past = np.where(has_past, group.before - usual_past, 0.0)
        sides.append(
            Group(
                (group.after - usual)[chosen],
                group.after_variance[chosen],
                past[chosen],
                np.where(has_past, group.before_variance, math.inf)[chosen],
                group.samples[chosen],
                np.flatnonzero(chosen),
            )
        )
    return combined(sides[0], sides[1], assumed)


def _mean_of_kind(stratum: Places, values: Numbers, chosen: Flags) -> Numbers:
    """Returns by device the mean of chosen devices of its stratum; 0 if there are none. Shape (D,)."""
    kinds = int(stratum.max(initial=0)) + 1
    count = np.bincount(stratum[chosen], minlength=kinds).astype(float)
    total = sums_by(stratum[chosen], values[chosen], kinds)
    return np.asarray((total / np.maximum(count, 1))[stratum])


def _quantile_group(after: Numbers, before: Numbers) -> Group:
    levels = []
    for histograms in (after, before):
        total = histograms.sum(axis=1)
        noise = np.where(total > 0, _QUANTILE_NOISE + _QUANTILE_NOISE_OF_ONE / np.maximum(total, 1), math.inf)
        levels.append((_log_quantiles(histograms), noise, total))
    (now, noise, samples), (past, past_noise, _) = levels
    return Group(now, noise, past, past_noise, samples)


def _log_quantiles(histograms: Numbers) -> Numbers:
    """The logarithm of each histogram's 95th percentile in microseconds, interpolated within its bucket; 0 for none."""
    total = histograms.sum(axis=1)
    wanted, seen = QUANTILE * total, np.cumsum(histograms, axis=1)
    bucket = np.argmax(seen >= wanted[:, None], axis=1)
    rows = np.arange(len(histograms))
    inside, below = histograms[rows, bucket], seen[rows, bucket] - histograms[rows, bucket]
    part = np.where(inside > 0, (wanted - below) / np.maximum(inside, 1e-12), 0.0)
    return np.asarray(np.where(total > 0, (bucket + part - 1) * math.log(2) / 2, 0.0))


def p95_us(found: Compared, *, treated: bool) -> float:
    """The 95th percentile of one side's times in microseconds, for sentences; 0 without any."""
    side = found.table.histograms(found.table.treated == treated).sum(axis=0)
    seen = np.cumsum(side)
    return upper_edge_us(int(np.argmax(seen >= QUANTILE * seen[-1]))) if seen[-1] else 0.0


def _level_of(found: Compared, rows: Flags, total: str, hits: str) -> Group:
    table, devices = found.table, len(found.first)
    totals, values = (sums_by(table.device[rows], table.column(name)[rows], devices) for name in (total, hits))
    known = totals > 0
    none = np.zeros(int(known.sum()))
    ratios = values[known] / totals[known]
    noise = hit_noise(totals[known], values[known])
    return Group(ratios, noise, none, none + math.inf, totals[known], np.flatnonzero(known))


def _hits(found: Compared, total: Numbers, hits: Numbers) -> Sample:
    return rows_as_sample(found, total, hits, hits, relative=False)


def rows_as_sample(found: Compared, total: Numbers, value: Numbers, square: Numbers, *, relative: bool) -> Sample:
    """Returns the rows in which something was counted; the arrays have a place for each row of the table,
    shape (n,).
    """
    table, known = found.table, total > 0
    return Sample(
        device=table.device[known],
        stratum=found.stratum,
        start=table.start[known],
        treated=table.treated[known],
        total=total[known],
        value=value[known],
        square=square[known],
        first=found.first,
        relative=relative,
    )


def levels(sample: Sample) -> tuple[float | None, float | None]:
    """Returns (the release's ratio, that of other versions since the release was first seen), both plain sums; None
    without any.
    """
    since = sample.start >= float(np.min(sample.start[sample.treated], initial=math.inf))
    return _ratio(sample, sample.treated), _ratio(sample, since & ~sample.treated)


def _ratio(sample: Sample, rows: Flags) -> float | None:
    total = float(sample.total[rows].sum())
    return float(sample.value[rows].sum()) / total if total else None


def names_of(strata: Sequence[str]) -> dict[str, int]:
    """Returns a number for each name of a stratum, in their order."""
    return {name: number for number, name in enumerate(strata)}
