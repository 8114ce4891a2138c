"""How much means of samples of one device vary by chance alone: of hits, of numbers, of logarithms of errors.

Decides that few samples never look certain. Refuses to know what is compared with what.
"""

import numpy as np

from contract.sequential import VARIATION
from controller.rollout.rows import Numbers

PRIOR_DEGREES = 10.0
"""Devices, or numbers, whose assumed spread is combined with the measured one: a few are not enough to measure a
spread."""
_SMALLEST = 1e-12


def hit_noise(total: Numbers, hits: Numbers) -> Numbers:
    """Returns the variance of ratios of samples, with one hit and one miss added, so that few samples never look
    certain.
    """
    smooth = (hits + 1) / (total + 2)
    return np.asarray(smooth * (1 - smooth) / np.maximum(total, 1))


def number_noise(total: Numbers, value: Numbers, square: Numbers, usual: float) -> Numbers:
    """Variance of means of numbers, from their own squares with `PRIOR_DEGREES` of the usual variance of one."""
    own = np.maximum(0.0, square - value**2 / np.maximum(total, 1))
    degrees = np.maximum(total - 1, 0) + PRIOR_DEGREES
    return np.asarray((own + PRIOR_DEGREES * usual) / degrees / np.maximum(total, 1))


def relative_noise(total: Numbers, value: Numbers, square: Numbers) -> Numbers:
    """Variance of the logarithm of mean absolute errors; never below that of normal errors."""
    mean = value / np.maximum(total, 1)
    measured = np.maximum(0.0, square - total * mean**2) / np.maximum(total - 1, 1)
    return np.asarray(np.maximum(measured / np.maximum(mean**2, _SMALLEST), VARIATION) / np.maximum(total, 1))
