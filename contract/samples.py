"""A sample: rows that stand for what devices will see, as one array or as named arrays of any rank and type.

Decides how a sample is written into arrays and read back. Refuses to know pandas: columns are plain arrays.
"""

from collections.abc import Mapping

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array, decode_tensors, encode_tensors

MATRIX = "matrix"
_COLUMN = "column/"


def encode_sample(sample: Array | Mapping[str, Array]) -> bytes:
    """One array of shape (rows, ...), or arrays by name in order: (rows,) for a column, (rows, ...), or () for one."""
    if isinstance(sample, np.ndarray):
        return encode_tensors({MATRIX: sample})
    return encode_tensors({_COLUMN + name: column for name, column in sample.items()})


def decode_sample(raw: bytes) -> Array | dict[str, Array]:
    """What `encode_sample` took; BadInput `sample_missing` for no rows, `tensors_invalid` for anything else."""
    arrays = decode_tensors(raw)
    sample: Array | dict[str, Array]
    if list(arrays) == [MATRIX] and arrays[MATRIX].ndim >= 2:
        sample, lengths = arrays[MATRIX], {len(arrays[MATRIX])}
    elif arrays and all(name.startswith(_COLUMN) for name in arrays):
        sample = {name.removeprefix(_COLUMN): array for name, array in arrays.items()}
        lengths = {len(array) for array in arrays.values() if array.ndim}
    else:
        raise BadInput(Code.TENSORS_INVALID, "a sample is one array of 2 or more dimensions, or arrays with names")
    if lengths <= {0}:
        raise BadInput(Code.SAMPLE_MISSING, "the sample has no rows: parity needs some")
    if len(lengths) != 1:
        raise BadInput(Code.TENSORS_INVALID, "arrays of a sample differ in their first axis, which counts rows")
    return sample
