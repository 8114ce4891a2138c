"""How far an answer may lie from the expected one: a fraction of how much each output varies over the sample.

Decides the absolute tolerance of each column of an output. A fixed tolerance would accept anything for targets around
1e-4, and refuse rounding errors for targets around 1e6. The converter and the device use the same numbers, which are in
the golden set.
"""

import numpy as np

from contract.tensors import Array

OF_SPREAD = 1e-4
"""The fraction of an output's spread by which an answer may differ. Right conversions stay below a tenth of it."""
RESOLUTION = 1e-6
"""The relative rounding error of a model in float32, about sixteen units in the last place."""
_NORMAL_QUARTILES = 1.349
"""The distance between the quartiles of a normal distribution with standard deviation 1."""


def spread(output: Array) -> Array:
    """Returns how much each column of an output (rows, ...) varies: float64 of shape (...).

    The standard deviation; if a few rows are outliers, an estimate from the quartiles. 0 for a column that never
    varies.
    """
    deviation, middle = _deviation_and_middle(output)
    return np.where(middle > 0, np.minimum(middle, deviation), deviation)


def _deviation_and_middle(output: Array) -> tuple[Array, Array]:
    numbers = np.where(np.isfinite(output), output, np.nan).astype(np.float64)
    with np.errstate(all="ignore"):
        deviation = _finite(np.nanstd(numbers, axis=0)) if len(numbers) else np.zeros(output.shape[1:])
        quartiles = np.nanquantile(numbers, (0.25, 0.75), axis=0) if len(numbers) else np.zeros((2, *output.shape[1:]))
    middle = _finite(quartiles[1] - quartiles[0]) / _NORMAL_QUARTILES
    return deviation, middle


def tolerance(output: Array, *, alone: bool) -> Array:
    """Returns the absolute tolerance of each column of a float output (rows, ...): float64 of shape (...).

    `alone`: each column is its own quantity, as targets of a regression are. Otherwise columns belong together, as
    probabilities do, and rounding is relative to the largest number in all of them. For those only the standard
    deviation counts: a network that is certain has quartiles of nearly 0, and the ends of its range are no outliers.
    """
    sizes = np.where(np.isfinite(output), np.abs(output), 0.0).astype(np.float64)
    largest = sizes.max(axis=0, initial=0.0) if alone else sizes.max(initial=0.0)
    varies = spread(output) if alone else _deviation_and_middle(output)[0]
    found: Array = np.maximum(OF_SPREAD * varies, RESOLUTION * largest)
    return found


def _finite(numbers: Array) -> Array:
    return np.where(np.isfinite(numbers), numbers, 0.0)
