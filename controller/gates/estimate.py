"""A measured number with its interval, and how to compute one from means of blocks of time.

Decides that neighbouring rows are not independent: blocks are the unit, never rows. Refuses to know what is measured.
"""

import math
from statistics import NormalDist

import numpy as np

from contract.sequential import student_distance
from contract.tensors import Array
from contract.wire import Message


class Estimate(Message, frozen=True):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def estimate(value: float, variance: float, degrees: float, confidence: float) -> Estimate:
    """Returns the two-sided interval by Student's t around a value whose variance was estimated."""
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    reach = student_distance(normal, max(1.0, degrees)) * math.sqrt(max(0.0, variance))
    return Estimate(value, value - reach, value + reach)


def estimate_by_blocks(gains: Array, times: Array, blocks: int, confidence: float) -> Estimate | None:
    """Returns the mean of `gains` (rows,), with an interval from means of so many blocks of `times` (rows,), with equal
    numbers of rows.

    The variance is never below that of independent rows. None for fewer than two rows in a block.
    """
    if len(gains) < 2 * blocks or blocks < 2:
        return None
    ordered = gains[np.argsort(times, kind="stable")]
    means = np.array([float(part.mean()) for part in np.array_split(ordered, blocks)])
    between = float(means.var(ddof=1)) / blocks
    within = float(ordered.var(ddof=1)) / len(ordered)
    return estimate(float(ordered.mean()), max(between, within), blocks - 1, confidence)
