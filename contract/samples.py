"""Samples: rows that represent the inputs of devices, as a matrix or as named columns of several types.

Decides how a sample is written into arrays and read back. Refuses to know pandas: columns are plain arrays.
"""

from collections.abc import Mapping

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array, decode_tensors, encode_tensors

MATRIX = "matrix"
_COLUMN = "column/"


def encode_sample(sample: Array | Mapping[str, Array]) -> bytes:
    """Encodes a matrix of shape (rows, features), or columns of shape (rows,) by name in order."""
    if isinstance(sample, np.ndarray):
        return encode_tensors({MATRIX: sample})
    return encode_tensors({_COLUMN + name: column for name, column in sample.items()})


def decode_sample(raw: bytes) -> Array | dict[str, Array]:
    """Returns the argument of `encode_sample`.

    BadInput `sample_missing` without rows; `tensors_invalid` for all else.
    """
    arrays = decode_tensors(raw)
    sample: Array | dict[str, Array]
    if list(arrays) == [MATRIX] and arrays[MATRIX].ndim == 2:
        sample, lengths = arrays[MATRIX], {len(arrays[MATRIX])}
    elif arrays and all(name.startswith(_COLUMN) and array.ndim == 1 for name, array in arrays.items()):
        sample = {name.removeprefix(_COLUMN): array for name, array in arrays.items()}
        lengths = {len(array) for array in arrays.values()}
    else:
        raise BadInput(Code.TENSORS_INVALID, "a sample is one 2-D matrix or named 1-D columns")
    if lengths == {0}:
        raise BadInput(Code.SAMPLE_MISSING, "the sample has no rows: parity needs some")
    if len(lengths) != 1:
        raise BadInput(Code.TENSORS_INVALID, "columns of a sample have different lengths")
    return sample
