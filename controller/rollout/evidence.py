"""Two sides of a comparison, matched in kind of device and in time.

Decides what is compared with what. Whether a difference is beyond chance is `contract.sequential`'s. Refuses to know
what follows from it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from contract.histogram import quantile_us
from contract.sequential import beyond_chance, variance_of_ratio
from controller.rollout.facts import Cell, Sums

FALSE_ALARM = 0.01
"""Chance that a rule ever stops a rollout whose release is as good as it should be."""


class Difference(msgspec.Struct, frozen=True):
    """An estimate of how far apart two sides are, and how sure that is."""

    value: float
    variance: float
    treated: int
    """Samples of each side that had a match."""
    control: int


def beyond(excess: float, variance: float, tests: int = 1) -> bool:
    """Whether an excess over what is allowed is beyond chance, at any number of looks.

    `tests`: tests that share the chance of a false alarm, one for each stratum.
    """
    return beyond_chance(excess, variance, FALSE_ALARM / tests)


def ratio_of(hits: int, total: int) -> Difference:
    """A ratio of samples."""
    return Difference(hits / total if total else 0.0, variance_of_ratio(hits, total), total, 0)


def accuracy_drop(cells: Iterable[Cell]) -> Difference | None:
    """How much less often the release was right than what ran beside it, in the same stratum at the same time.

    Cells are weighted as by Mantel and Haenszel; what has no match counts for nothing. None without any match.
    """
    weights = drops = variances = 0.0
    treated = control = 0
    for cell in cells:
        ours, theirs = cell.treated, cell.control
        if not ours.labelled or not theirs.labelled:
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


def latency_ratio(cells: Sequence[Cell], quantile: float) -> tuple[float, float, float, int] | None:
    """(ratio, treated and control in microseconds, samples of the smaller side), over cells that have both."""
    both = [cell for cell in cells if cell.treated.inferences and cell.control.inferences]
    treated, control = total(cell.treated for cell in both), total(cell.control for cell in both)
    after, before = quantile_us(treated.latency_counts, quantile), quantile_us(control.latency_counts, quantile)
    if after is None or before is None:
        return None
    return after / before, after, before, min(treated.inferences, control.inferences)


def total(sums: Iterable[Sums]) -> Sums:
    """The sum of all."""
    found = Sums()
    for each in sums:
        found = found.plus(each)
    return found
