"""How far a distribution has moved, beside how far its own past moved: blocks of the reference give the threshold.

Rows of sensors are not independent, so a threshold by their number alarms nearly always. Here a block of time is one
observation: each past block is held against the blocks before it as the newest one is, and that is how much the world
moves by itself. Decides distances and limits. Refuses to know what the counts are of.
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from contract.sequential import student_distance
from contract.tensors import Array

REFERENCE_BLOCKS = 8
"""Blocks before one that are its reference: the season of the moment."""
YEAR_BLOCKS = (49, 50, 51, 52, 53, 54, 55)
"""Blocks that are its reference as well where they are there: the same season a year ago, in weeks."""
MIN_PAST = 4
"""Past blocks with a distance of their own that a limit needs: with fewer, nobody knows how much the world moves."""
MIN_ROWS = 50
"""Of a block: the shape of fewer rows is chance."""
FALSE_MARKS = 0.01
"""The chance that a quiet column of one block is marked. A model with ten columns is then marked in one week in ten."""
MIN_SPREAD = 0.1
"""The least standard deviation of a distance's logarithm: a past that moved alike again and again promises nothing."""


class Moved(msgspec.Struct, frozen=True):
    """How far one distribution has moved, as the fraction of rows that lie in other bins than the reference's."""

    distance: float
    usual: float | None
    """The median of what the past blocks moved by; None where there are too few."""
    limit: float | None
    """What the past explains; None where there are too few blocks."""
    rows: int
    rows_effective: float
    """How many independent rows a block of this column is worth, by how much blocks differ."""
    bin: int
    """The bin that has gained the most."""
    gained: float
    """By how much, as a fraction of all rows."""

    @property
    def is_beyond(self) -> bool:
        """Whether it has moved further than its own past explains."""
        return self.limit is not None and self.distance > self.limit

    @property
    def rank(self) -> float:
        """What is sorted by: how far beyond the limit, or the bare distance where there is none."""
        return self.distance / self.limit if self.limit else self.distance


def moved(blocks: Array) -> Moved | None:
    """Holds the newest block against those before it. `blocks`: counts, shape (blocks, bins), the newest first.

    None where the newest block has too few rows, or nothing is before it.
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
    """The fraction of rows that lie in other bins: total variation of two vectors that each sum to 1."""
    return float(np.abs(ours - theirs).sum() / 2)


def _distance(ratios: Array, known: Array, at: int) -> float | None:
    reference = _reference(ratios, known, at)
    return None if np.isnan(reference).any() else apart(ratios[at], reference)


def _reference(ratios: Array, known: Array, at: int) -> Array:
    places = [*range(at + 1, at + 1 + REFERENCE_BLOCKS), *(at + weeks for weeks in YEAR_BLOCKS)]
    there = [place for place in places if place < len(known) and known[place]]
    return np.asarray(ratios[there].mean(axis=0)) if there else np.full(ratios.shape[1], np.nan)


def _limit(past: Array, fewer: float, least: float) -> float:
    """The distance that a further block of the same past exceeds with `FALSE_MARKS`; distances are log-normal.

    `fewer`: so much further a block of fewer rows lies by chance. It is never below `least`, nor above 1: all rows.
    """
    logs = np.log(np.maximum(past, 1e-6))
    spread = max(float(logs.std(ddof=1)), MIN_SPREAD) * math.sqrt(1 + 1 / len(logs))
    away = student_distance(NormalDist().inv_cdf(1 - FALSE_MARKS), len(logs) - 1)
    return min(1.0, max(float(np.exp(logs.mean() + away * spread)) * fewer, least))


def _chance(ratios: Array, rows: float) -> float:
    """The distance that as many independent rows exceed with `FALSE_MARKS`: no past is quieter than chance.

    The mean of each bin's distance is that of a normal one, and a single row moves the whole by 1 / rows at most.
    """
    middle = float(np.sqrt(ratios * (1 - ratios) * 2 / math.pi / rows).sum()) / 2
    return min(1.0, middle + NormalDist().inv_cdf(1 - FALSE_MARKS) / (2 * math.sqrt(rows)))


def _effective(ratios: Array, rows: float) -> float:
    """Of independent rows the ratio of a bin varies by p (1 - p) / n from block to block: solved for n over all bins.

    Source: the design effect of Kish, "Survey Sampling", 1965.
    """
    if len(ratios) < MIN_PAST:
        return rows
    middle, varies = ratios.mean(axis=0), float(ratios.var(axis=0, ddof=1).sum())
    return min(rows, float((middle * (1 - middle)).sum()) / varies) if varies > 0 else rows
