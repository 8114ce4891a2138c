"""The two sides of a comparison, matched by kind of device and by time.

Decides what is compared with what. `contract.sequential` decides whether a difference is beyond chance. Refuses to know
what follows from it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from contract.histogram import quantile_us
from contract.sequential import beyond_chance, variance_of_ratio
from controller.rollout.facts import Cell, Sums

FALSE_ALARM = 0.01
"""The chance that a rule ever stops a rollout whose release is as good as required."""


class Difference(msgspec.Struct, frozen=True):
    """An estimate of the difference between two sides, with its variance."""

    value: float
    variance: float
    treated: int
    """The number of samples of this side that had a match."""
    control: int


def beyond(excess: float, variance: float, tests: int = 1) -> bool:
    """Tells whether an excess over the allowed value is beyond chance, however often it is checked.

    `tests`: the number of tests between which the chance of a false alarm is divided, one for each stratum.
    """
    return beyond_chance(excess, variance, FALSE_ALARM / tests)


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
    """Returns (ratio, treated and control in microseconds, samples of the smaller side), over cells that have both
    sides.
    """
    both = [cell for cell in cells if cell.treated.inferences and cell.control.inferences]
    treated, control = total(cell.treated for cell in both), total(cell.control for cell in both)
    after, before = quantile_us(treated.latency_counts, quantile), quantile_us(control.latency_counts, quantile)
    if after is None or before is None:
        return None
    return after / before, after, before, min(treated.inferences, control.inferences)


def total(sums: Iterable[Sums]) -> Sums:
    """Returns the sum of all."""
    found = Sums()
    for each in sums:
        found = found.plus(each)
    return found
