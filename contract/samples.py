"""Samples: rows that represent the inputs of devices, as one array or as named arrays of any rank and type.

Decides how a sample is written into arrays and read back. Refuses to know pandas: columns are plain arrays.
"""

import math
from collections.abc import Mapping

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array, decode_tensors, encode_tensors

MATRIX = "matrix"
_COLUMN, _MISSING = "column/", "missing/"
_PARTS = (_COLUMN, _MISSING)
_NAN, _NONE = 1, 2
"""The codes of a missing cell of text. Estimators distinguish None and NaN, and both differ from any text."""


def encode_sample(sample: Array | Mapping[str, Array]) -> bytes:
    """Encodes one array of shape (rows, ...), or arrays by name in order.

    A named array has the shape (rows,) for a column, (rows, ...), or () for a scalar.
    """
    if isinstance(sample, np.ndarray):
        return encode_tensors({MATRIX: sample})
    arrays: dict[str, Array] = {}
    for name, column in sample.items():
        missing = _missing_cells(column)
        arrays[_COLUMN + name] = np.where(missing > 0, "", column) if missing.any() else column
        if missing.any():
            arrays[_MISSING + name] = missing
    return encode_tensors(arrays)


def decode_sample(raw: bytes) -> Array | dict[str, Array]:
    """Returns the argument of `encode_sample`.

    BadInput `sample_missing` without rows; `tensors_invalid` for all else.
    """
    arrays = decode_tensors(raw)
    sample: Array | dict[str, Array]
    if list(arrays) == [MATRIX] and arrays[MATRIX].ndim >= 2:
        sample, lengths = arrays[MATRIX], {len(arrays[MATRIX])}
    elif any(name.startswith(_COLUMN) for name in arrays) and all(name.startswith(_PARTS) for name in arrays):
        lengths = {len(array) for array in arrays.values() if array.ndim}
        sample = {name.removeprefix(_COLUMN): array for name, array in arrays.items() if name.startswith(_COLUMN)}
        if len(lengths) == 1:
            sample = {name: _with_missing(column, arrays.get(_MISSING + name)) for name, column in sample.items()}
    else:
        raise BadInput(Code.TENSORS_INVALID, "a sample is one array of 2 or more dimensions, or arrays with names")
    if lengths <= {0}:
        raise BadInput(Code.SAMPLE_MISSING, "the sample has no rows: parity needs some")
    if len(lengths) != 1:
        raise BadInput(Code.TENSORS_INVALID, "arrays of a sample differ in their first axis, which counts rows")
    return sample


def _missing_cells(column: Array) -> Array:
    """Returns how each cell of a column of text is missing: uint8 of shape (rows,), 0 for a cell that is present.

    Only columns may lack text: for arrays of other ranks the result is empty.
    """
    if column.dtype != object or column.ndim != 1:
        return np.zeros(0, dtype=np.uint8)
    return np.array([_how_missing(cell) for cell in column.tolist()], dtype=np.uint8)


def _how_missing(cell: object) -> int:
    if cell is None:
        return _NONE
    return _NAN if isinstance(cell, float) and math.isnan(cell) else 0


def _with_missing(column: Array, missing: Array | None) -> Array:
    if missing is None:
        return column
    if missing.shape != column.shape:
        raise BadInput(Code.TENSORS_INVALID, "a sample's missing cells do not have the shape of their column")
    cells = column.astype(object)
    cells[missing == _NAN] = np.nan
    cells[missing == _NONE] = None
    return cells
