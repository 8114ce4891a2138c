"""Labelled quality over time: what a champion lost on each device in each block, and how far it has dropped.

Decides the variance of a mean: the larger of what blocks and what devices show, never below that of independent rows.
Loss is the fraction of wrong answers of a classifier, the mean absolute error of a regression. Refuses to know where
labels come from.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from controller.gates.estimate import Estimate, estimate

MIN_GROUPS = 3
"""The fewest blocks or devices from which a variance between them is estimated."""


class Cell(msgspec.Struct, frozen=True, order=True):
    """The labels of one device in one block of time, summed."""

    block: int
    device: str
    labelled: int
    lost: float
    """Wrong answers, or the sum of absolute errors."""
    squared: float
    """The sum of squared losses: for wrong answers the same number."""


class Mean(msgspec.Struct, frozen=True):
    """A mean loss with its variance."""

    loss: float
    variance: float
    degrees: float
    labelled: int


def mean_loss(cells: Sequence[Cell]) -> Mean | None:
    """The mean loss of all labels; None without two of them."""
    labelled = sum(cell.labelled for cell in cells)
    if labelled < 2:
        return None
    loss = sum(cell.lost for cell in cells) / labelled
    spread = max(0.0, sum(cell.squared for cell in cells) / labelled - loss**2)
    least = max(spread, loss / labelled) / labelled
    found = [(least, labelled - 1.0)]
    for key in (lambda cell: cell.block, lambda cell: cell.device):
        groups = [list(group) for _, group in groupby(sorted(cells, key=key), key)]
        found += [_between(groups, loss, labelled)] if len(groups) >= MIN_GROUPS else []
    variance, degrees = max(found)
    return Mean(loss, variance, degrees, labelled)


def _between(groups: Sequence[Sequence[Cell]], loss: float, labelled: int) -> tuple[float, float]:
    """Returns (variance, degrees of freedom) of a ratio whose units are groups of cells (Cochran 1977,
    section 2.11).
    """
    count = len(groups)
    away = (sum(cell.lost for cell in group) - loss * sum(cell.labelled for cell in group) for group in groups)
    return sum(each**2 for each in away) * count / (count - 1) / labelled**2, count - 1.0


def newest_cells(cells: Iterable[Cell], blocks: int) -> list[Cell]:
    """The cells of the newest blocks that have labels."""
    found = list(cells)
    kept = sorted({cell.block for cell in found})[-blocks:]
    return [cell for cell in found if cell.block in kept]


def oldest_cells(cells: Iterable[Cell], blocks: int) -> list[Cell]:
    """The cells of the first blocks that have labels."""
    found = list(cells)
    kept = sorted({cell.block for cell in found})[:blocks]
    return [cell for cell in found if cell.block in kept]


def decay_of(reference: Mean, recent: Mean, confidence: float, *, relative: bool) -> Estimate:
    """Returns how much the loss has grown; `relative`: as a fraction of the reference's."""
    base = max(reference.loss, 1e-12) if relative else 1.0
    variance = reference.variance + recent.variance
    degrees = variance**2 / max(
        reference.variance**2 / reference.degrees + recent.variance**2 / recent.degrees, 1e-300
    )  # Welch 1947
    return estimate((recent.loss - reference.loss) / base, variance / base**2, degrees, confidence)


def promised(score: float, rows: int, *, classifies: bool, like: Mean) -> Mean:
    """Returns the loss on held-out rows; its variance exceeds that of independent rows as much as `like`'s does."""
    loss = 1 - score if classifies else score
    return Mean(loss, like.variance * like.labelled / max(1, rows), like.degrees, rows)
