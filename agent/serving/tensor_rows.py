"""Rows of models whose inputs are tensors: a picture, a piece of sound, a state. Cells are arrays by input name.

Decides which shapes a cell may have: the input's own, or one dimension less if its first one is rows. Refuses to
know where rows come from, and columns: `rows` encodes those.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.ports import Array
from agent.serving.acceptance import acceptance_of, takes_shape
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, Manifest, Tensor


class TensorRows:
    """Turns a row, arrays or nested lists by input name, into the arrays that the manifest's inputs require."""

    def __init__(self, manifest: Manifest) -> None:
        self._inputs = [(tensor, np.dtype(DATATYPES[tensor.datatype])) for tensor in manifest.inputs]
        self._acceptance = acceptance_of(manifest)

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Returns arrays by input name; dtypes are the manifest's, text as object.

        BadInput names the input: `sample_invalid` for one that is missing or has another type or shape,
        `value_missing`, `value_range`.
        """
        return {tensor.name: self._array(tensor, dtype, values) for tensor, dtype in self._inputs}

    def _array(self, tensor: Tensor, dtype: "np.dtype[Any]", values: Mapping[str, Any]) -> Array:
        if tensor.name not in values:
            given = ", ".join(map(str, values))[:200]
            raise BadInput(Code.SAMPLE_INVALID, f"input {tensor.name!r} is not there; the row has {given}")
        try:
            array = np.asarray(values[tensor.name], object if dtype.kind == "U" else dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadInput(Code.SAMPLE_INVALID, f"input {tensor.name!r}: {error}"[:200]) from None
        if array.ndim == len(tensor.shape) - 1 and tensor.shape[0] in (-1, 1):
            array = array[None]
        if not takes_shape(tensor, array.shape):
            words = f"shape {list(array.shape)}, the model takes {list(tensor.shape)}"
            raise BadInput(Code.SAMPLE_INVALID, f"input {tensor.name!r}: {words}")
        self._acceptance.check_texts({tensor.name: array})
        self._acceptance.check_values(tensor.name, array)
        return array
