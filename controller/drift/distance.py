"""How far a distribution has moved, compared with its movements in the past: blocks of the reference give the
threshold.

Rows of sensors are not independent, so a threshold from their number causes nearly constant alarms. Here a block of
time is one observation. Each past block is compared with the blocks before it, like the newest one. This shows the
normal movement. Decides distances and limits. Refuses to know what the counts mean.
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from contract.sequential import student_distance
from contract.tensors import Array

REFERENCE_BLOCKS = 8
"""The blocks before a block that are its reference: the same season."""
YEAR_BLOCKS = (49, 50, 51, 52, 53, 54, 55)
"""The blocks of a year ago, in weeks, that are also its reference if they exist: the same season a year before."""
MIN_PAST = 4
"""The fewest past blocks with a distance that a limit needs: with fewer, the usual movement is unknown."""
MIN_ROWS = 50
"""The fewest rows of a block: the shape of fewer rows is random."""
FALSE_MARKS = 0.01
"""The probability that an unchanged column of one block is marked. A model with ten columns is then marked in one week
in ten."""
MIN_SPREAD = 0.1
"""The smallest standard deviation of a distance's logarithm: equal distances in the past do not prove equal ones
later.
"""


class Moved(msgspec.Struct, frozen=True):
    """How far one distribution has moved, as the fraction of rows that lie in other bins than the reference's."""

    distance: float
    usual: float | None
    """The median movement of the past blocks; None if there are too few blocks."""
    limit: float | None
    """The limit that follows from the past; None if there are too few blocks."""
    rows: int
    rows_effective: float
    """The number of independent rows to which a block of this column is equivalent, judged by how much blocks
    differ."""
    bin: int
    """The bin whose fraction has grown most."""
    gained: float
    """The gain as a fraction of all rows."""

    @property
    def is_beyond(self) -> bool:
        """Whether it has moved further than usual in its own past."""
        return self.limit is not None and self.distance > self.limit

    @property
    def rank(self) -> float:
        """The sort key: how far beyond the limit, or only the distance if there is none."""
        return self.distance / self.limit if self.limit else self.distance


def moved(blocks: Array) -> Moved | None:
    """Compares the newest block with those before it. `blocks`: counts, shape (blocks, bins), the newest first.

    None if the newest block has too few rows, or no block is before it.
    """
    rows = blocks.sum(axis=1)
    known = rows >= MIN_ROWS
    if not len(known) or not known[0] or not known[1:].any():
        return None
    ratios = blocks / np.maximum(rows, 1)[:, None]
    distances = {
        at: found for at in np.flatnonzero(known).tolist() if (found := _distance(ratios, known, at)) is not None
    }
    now = distances.pop(0, None)
    if now is None:
        return None
    past = np.array(list(distances.values()))
    gained = ratios[0] - _reference(ratios, known, 0)
    fewer = math.sqrt(max(1.0, float(np.median(rows[1:][known[1:]])) / float(rows[0])))
    return Moved(
        distance=now,
        usual=float(np.median(past)) if len(past) else None,
        limit=_limit(past, fewer, _chance(ratios[0], float(rows[0]))) if len(past) >= MIN_PAST else None,
        rows=int(rows[0]),
        rows_effective=_effective(ratios[known], float(rows[0])),
        bin=int(gained.argmax()),
        gained=float(gained.max()),
    )


def apart(ours: Array, theirs: Array) -> float:
    """Returns the fraction of rows that lie in other bins: total variation of two vectors that each sum to 1."""
    return float(np.abs(ours - theirs).sum() / 2)


def _distance(ratios: Array, known: Array, at: int) -> float | None:
    reference = _reference(ratios, known, at)
    return None if np.isnan(reference).any() else apart(ratios[at], reference)


def _reference(ratios: Array, known: Array, at: int) -> Array:
    places = [*range(at + 1, at + 1 + REFERENCE_BLOCKS), *(at + weeks for weeks in YEAR_BLOCKS)]
    there = [place for place in places if place < len(known) and known[place]]
    return np.asarray(ratios[there].mean(axis=0)) if there else np.full(ratios.shape[1], np.nan)


def _limit(past: Array, fewer: float, least: float) -> float:
    """Returns the distance that a further block of the same past exceeds with `FALSE_MARKS`; distances are log-normal.

    `fewer`: the additional distance of a block with fewer rows by chance. The limit is at least `least` and at most
    1, which is all rows.
    """
    logs = np.log(np.maximum(past, 1e-6))
    spread = max(float(logs.std(ddof=1)), MIN_SPREAD) * math.sqrt(1 + 1 / len(logs))
    away = student_distance(NormalDist().inv_cdf(1 - FALSE_MARKS), len(logs) - 1)
    return min(1.0, max(float(np.exp(logs.mean() + away * spread)) * fewer, least))


def _chance(ratios: Array, rows: float) -> float:
    """Returns the distance that as many independent rows exceed with `FALSE_MARKS`: no limit is below chance.

    The mean of each bin's distance is that of a normal variable, and a single row moves the whole by at most 1 / rows.
    """
    middle = float(np.sqrt(ratios * (1 - ratios) * 2 / math.pi / rows).sum()) / 2
    return min(1.0, middle + NormalDist().inv_cdf(1 - FALSE_MARKS) / (2 * math.sqrt(rows)))


def _effective(ratios: Array, rows: float) -> float:
    """For independent rows the ratio of a bin varies by p (1 - p) / n from block to block: solved for n over all bins.

    Source: the design effect of Kish, "Survey Sampling", 1965.
    """
    if len(ratios) < MIN_PAST:
        return rows
    middle, varies = ratios.mean(axis=0), float(ratios.var(axis=0, ddof=1).sum())
    return min(rows, float((middle * (1 - middle)).sum()) / varies) if varies > 0 else rows
