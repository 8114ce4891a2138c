"""Thresholds in float32 by which numbers that float32 holds are compared as in float64."""

import numpy as np

from contract.tensors import Array


def rounded_down(numbers: Array) -> Array:
    """Returns the largest float32 that is not above each number, for comparisons with `<=` and `>`."""
    with np.errstate(over="ignore"):
        near = numbers.astype(np.float32)
    return np.asarray(np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32))


def rounded_up(numbers: Array) -> Array:
    """Returns the smallest float32 that is not below each number, for comparisons with `<` and `>=`."""
    return np.asarray(-rounded_down(-numbers))
