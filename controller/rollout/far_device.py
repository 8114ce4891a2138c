"""Limits the effect of one device on an estimate over devices.

A device with false reports or a broken sensor is further from all others than these are from each other. With it
the interval of a mean is too wide for any verdict. One such device is excluded, never two: two may show the effect
of the release on a part of the fleet. Sources: Huber, "Robust Estimation of a Location Parameter", 1964 (bounded
influence); Hampel, "The Influence Curve and its Role in Robust Estimation", 1974 (median of deviations as scale).
Decides which device is excluded, and the largest weight of a device in the usual level. Refuses to know rules.
"""

from collections.abc import Sequence

import numpy as np

from controller.rollout.rows import Numbers

FAR = 8.0
"""Robust standard deviations from which a device is excluded: of 10,000 normal devices practically none is."""
MIN_DEVICES = 5
"""The fewest devices of a side for an exclusion: three do not show how far devices usually differ. Also, one of four
is a quarter of the effect: with fewer no device is excluded, and the interval stays wide.
"""
MOST_TIMES = 5.0
"""A row counts in the usual level at most as so many times the median count."""
LARGEST_RATIO = 1e3
"""A row's mean error counts in the usual level at most as so many times the median error."""
_NORMAL = 1.4826
"""The standard deviation of a normal variable in units of its median deviation."""


def farthest(values: Sequence[Numbers], noises: Sequence[Numbers], assumed: float) -> tuple[int, int] | None:
    """Returns (side, place) of the device that lies too far from the others of its side; None if there is none.

    `values` and `noises` by side, arrays of one length for each side: how much each has moved, and the variance of that
    by noise alone. `assumed`: the smallest standard deviation between devices.
    """
    away = [np.abs(side - np.median(side)) if len(side) >= MIN_DEVICES else np.zeros(len(side)) for side in values]
    known = np.concatenate([each for each in away if len(each) >= MIN_DEVICES] or [np.zeros(0)])
    if not len(known):
        return None
    spread = max(assumed, _NORMAL * float(np.median(known)))
    scaled = [each / np.sqrt(spread**2 + np.maximum(noise, 0.0)) for each, noise in zip(away, noises, strict=True)]
    tops = [float(each.max(initial=0.0)) for each in scaled]
    side = int(np.argmax(tops))
    return (side, int(np.argmax(scaled[side]))) if tops[side] > FAR else None


def bounded(totals: Numbers) -> Numbers:
    """Returns by row the part of it that counts in a sum over devices, at most 1: a count far above the median has
    less weight.
    """
    there = totals[totals > 0]
    most = MOST_TIMES * float(np.median(there)) if len(there) else np.inf
    return np.asarray(np.minimum(1.0, most / np.maximum(totals, 1e-12)))


def bounded_errors(totals: Numbers, values: Numbers) -> Numbers:
    """Returns by row a sum of errors in which no mean error is far above the median one."""
    means = values / np.maximum(totals, 1e-12)
    there = means[(totals > 0) & (means > 0)]
    most = LARGEST_RATIO * float(np.median(there)) if len(there) else np.inf
    return np.asarray(np.minimum(means, most) * totals)
