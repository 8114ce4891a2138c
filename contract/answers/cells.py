"""Cells of a column: what kind of column it is, which cells are missing, and how a missing cell is written."""

import math

import numpy as np

from contract.tensors import Array


def is_number(column: Array) -> bool:
    """Whether a column holds numbers, or yes and no."""
    return column.dtype.kind in "fiub"


def is_real(column: Array) -> bool:
    """Whether a column holds real numbers, of which some may be missing."""
    return column.dtype.kind == "f"


def is_exact_in_float32(column: Array) -> bool:
    """Whether float32 holds every number of a column exactly: readings such as 0.5 and -3, not readings of 0.1."""
    with np.errstate(over="ignore"):
        narrow = column.astype(np.float32).astype(np.float64)
    return bool(np.array_equal(narrow, column.astype(np.float64), equal_nan=True))


def is_text(column: Array) -> bool:
    """Whether a column holds texts, of which some may be missing."""
    return column.dtype.kind in "OUS"


def is_missing(cell: object) -> bool:
    """Whether a cell is None or NaN."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def missing_cells(column: Array) -> Array:
    """Which cells of a column are missing: bool of shape (rows,)."""
    if is_real(column):
        return np.isnan(column)
    if column.dtype != object:
        return np.zeros(len(column), dtype=bool)
    return np.array([is_missing(cell) for cell in column.tolist()], dtype=bool)


def missing_cell(column: Array) -> float | None:
    """Returns how a column writes a missing cell: None if it does so already, else NaN."""
    if column.dtype == object and any(cell is None for cell in column.tolist()):
        return None
    return math.nan
