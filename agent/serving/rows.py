"""Between a sensor's row and a model's arrays: columns to inputs, and the first output to an answer.

Decides how a cell becomes a number. Refuses to know who asks.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from agent.ports import Array
from agent.serving.tensor_rows import TensorRows
from contract.errors import BadInput, Code
from contract.labels import Answer
from contract.manifest import DATATYPES, Manifest


class RowEncoder:
    """Turns a sensor's row into the arrays that the manifest's inputs require; decisions are made once, not per row."""

    def __init__(self, manifest: Manifest) -> None:
        self._matrix = len(manifest.inputs) == 1
        self._columns = manifest.columns if self._matrix else tuple(tensor.name for tensor in manifest.inputs)
        self._refuses_nan = manifest.nan == "refuse"
        self._whole = TensorRows(manifest)
        """Encodes a row that is given as one list, by the name of the input."""
        self._inputs = [(tensor.name, np.dtype(DATATYPES[tensor.datatype])) for tensor in manifest.inputs]

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Returns arrays of one row by input name: one of shape (1, columns), or one of (1, 1) for each column.

        Dtypes are the manifest's, text as object. BadInput `sample_invalid` names the column that is missing or wrong.
        """
        arrays = self._encode(values)
        if self._refuses_nan and any(_misses(array) for array in arrays.values()):
            missing = [column for column in self._columns if _is_missing(values[column])]
            raise BadInput(Code.SAMPLE_INVALID, f"no value for {', '.join(missing)[:200]}; the model requires one")
        return arrays

    def _encode(self, values: Mapping[str, Any]) -> dict[str, Array]:
        try:
            row = [values[column] for column in self._columns]
            if self._matrix:
                name, dtype = self._inputs[0]
                return {name: _cells(row, dtype)}
            pairs = zip(self._inputs, row, strict=True)
            return {name: _cells([value], dtype) for (name, dtype), value in pairs}
        except KeyError as error:
            if self._matrix and self._inputs[0][0] in values:
                return self._whole.arrays(values)
            raise BadInput(Code.SAMPLE_INVALID, f"column {error} is missing") from None
        except (TypeError, ValueError) as error:
            raise BadInput(Code.SAMPLE_INVALID, f"{error}; columns are {', '.join(self._columns)[:200]}") from None


@lru_cache(maxsize=8)
def encoder_of(manifest: Manifest) -> RowEncoder | TensorRows:
    """Returns the encoder of a version, cached: it depends on the manifest alone."""
    return RowEncoder(manifest) if manifest.columns else TensorRows(manifest)


def answer_of(outputs: list[Array], *, regression: bool) -> Answer:
    """Returns the first value of the first output, shape (rows, ...): a number, or the name of a class as text."""
    first = outputs[0].item(0)
    if regression:
        return float(first)
    return first if isinstance(first, float) else str(first)


def _cells(row: list[Any], dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "U":
        return np.array([[str(cell) for cell in row]], dtype=object)
    return np.array([row], dtype=dtype)


def _misses(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _is_missing(cell: Any) -> bool:
    try:
        return cell is None or math.isnan(float(cell))
    except (TypeError, ValueError):
        return False
