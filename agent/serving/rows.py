"""Converts a sensor's row to a model's arrays by column, and the first output to an answer.

Decides which columns a row must have. Refuses to know where rows come from; `cells` reads the cells of the columns.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from agent.ports import Array
from agent.serving.cells import Read, is_missing, lacks_text, reader_of
from agent.serving.tensor_rows import TensorRows
from contract.errors import BadInput, Code
from contract.labels import Answer
from contract.manifest import DATATYPES, Manifest

_PACKED = {2: "e", 4: "f", 8: "d"}
"""The names by which `struct` knows floats of so many bytes."""
MAX_NAMED = 8
"""The most columns that an error names."""


class _Column:
    """One column: how its cells are read, and what replaces a missing one."""

    def __init__(self, manifest: Manifest, name: str, datatype: str) -> None:
        self.name = name
        self.read: Read = reader_of(name, datatype)
        self.is_text = datatype == "BYTES"
        texts = dict(manifest.missing_text)
        self.stand_in: Any = texts.get(name) if self.is_text else float("nan")
        accepts_nan = datatype.startswith("FP") and manifest.nan == "accept" and name not in manifest.required
        self.may_miss = name in texts if self.is_text else accepts_nan


class RowEncoder:
    """Turns a sensor's row into the arrays that the manifest's inputs require; decisions are made once, not per row."""

    def __init__(self, manifest: Manifest) -> None:
        self._matrix = len(manifest.inputs) == 1
        self._names = manifest.columns if self._matrix else tuple(tensor.name for tensor in manifest.inputs)
        self._whole = TensorRows(manifest)
        """Encodes a row that is given as one list, by the name of the input."""
        self._inputs = [(tensor.name, np.dtype(DATATYPES[tensor.datatype])) for tensor in manifest.inputs]
        types = [tensor.datatype for tensor in manifest.inputs]
        self._columns = [
            _Column(manifest, name, types[0] if self._matrix else types[at])
            for at, name in enumerate(self._names)
            if self._matrix or at < len(types)
        ]
        self._quick = self._matrix and self._inputs[0][1].kind == "f"
        if self._quick:
            dtype = self._inputs[0][1]
            self._pack = struct.Struct(f"={len(self._names)}{_PACKED[dtype.itemsize]}").pack
            self._square = _largest_square(dtype)

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Returns arrays of one row by input name: one of shape (1, columns), or one of (1, 1) for each column.

        Dtypes are the manifest's, text as object. BadInput names the column: `sample_invalid` for one that is missing
        or no number, `value_missing`, `value_range`.
        """
        try:
            row = [values[column] for column in self._names]
        except KeyError as error:
            if self._matrix and self._inputs[0][0] in values:
                return self._whole.arrays(values)
            raise BadInput(Code.SAMPLE_INVALID, f"column {error} is not there") from None
        if self._quick and (found := self._quick_matrix(row)) is not None:
            return found
        return self._read(row)

    def typed(self, values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
        """Returns cells by column in the types of the version's inputs: a number in text becomes a number.

        None for a missing cell. A column that is no input, and a cell that could not be read, stay unchanged. A row
        that is one list, by the name of the input, is split into its columns.
        """
        if self._matrix and self._inputs[0][0] in values and len(self._names) > 1:
            whole = np.ravel(np.asarray(values[self._inputs[0][0]], dtype=object)).tolist()
            values = dict(zip(self._names, whole, strict=False)) | dict(values)
        known = {column.name: column for column in self._columns}
        return {name: _typed(known.get(name), values.get(name)) for name in columns}

    def _quick_matrix(self, row: list[Any]) -> dict[str, Array] | None:
        """Returns the matrix of a row of plain numbers; None if the cells must be read one by one.

        Packing refuses cells that are no number or too large for the dtype; the sum shows infinity and NaN. It
        takes 0.9 us for 20 columns, less than numpy needs to convert them unchecked.
        """
        name, dtype = self._inputs[0]
        try:
            total = sum(row)
            if total - total == 0.0:
                return {name: np.frombuffer(self._pack(*row), dtype).reshape(1, -1)}
        except (struct.error, TypeError, ValueError, OverflowError):
            return self._quick_text(row)
        return None

    def _quick_text(self, row: list[Any]) -> dict[str, Array] | None:
        """Returns the matrix of a row of numbers in text, as CSV has them; None if cells must be read one by one."""
        name, dtype = self._inputs[0]
        try:
            matrix = np.array([row], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return None
        if matrix.ndim != 2 or not np.vdot(matrix, matrix) <= self._square:
            return None
        return {name: matrix.astype(dtype)}

    def _read(self, row: list[Any]) -> dict[str, Array]:
        if len(self._columns) != len(row):
            raise BadInput(Code.SAMPLE_INVALID, f"the model takes {len(self._inputs)} inputs, not a row of columns")
        missing: list[str] = []
        cells = [self._cell(column, cell, missing) for column, cell in zip(self._columns, row, strict=True)]
        if missing:
            words = f"no value for {', '.join(missing[:MAX_NAMED])[:200]}; the model requires one"
            raise BadInput(Code.VALUE_MISSING, words)
        if self._matrix:
            name, dtype = self._inputs[0]
            return {name: np.array([cells], dtype=_held(dtype))}
        pairs = zip(self._inputs, cells, strict=True)
        return {name: np.array([[cell]], dtype=_held(dtype)) for (name, dtype), cell in pairs}

    def _cell(self, column: _Column, cell: Any, missing: list[str]) -> Any:
        if lacks_text(cell) if column.is_text else is_missing(cell):
            if not column.may_miss:
                missing.append(column.name)
            return column.stand_in
        return column.read(cell)


def _typed(column: _Column | None, cell: Any) -> Any:
    """Returns a cell, read by the column's reader."""
    if column is None:
        return cell
    if lacks_text(cell) if column.is_text else is_missing(cell):
        return None
    try:
        return column.read(cell)
    except BadInput:  # a cell that the version refuses: the version did not answer the row
        return cell


def typed_cells(manifest: Manifest, values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Returns cells of a row by column in the types of the version's signature (`RowEncoder.typed`)."""
    encoder = encoder_of(manifest)
    if isinstance(encoder, RowEncoder):
        return encoder.typed(values, columns)
    return {name: values.get(name) for name in columns}


@lru_cache(maxsize=8)
def encoder_of(manifest: Manifest) -> RowEncoder | TensorRows:
    """Returns the encoder of a version, cached: it depends on the manifest alone."""
    return RowEncoder(manifest) if manifest.columns else TensorRows(manifest)


def count_rows(inputs: Mapping[str, Array]) -> int:
    """Returns how many rows arrays by input name hold: the first axis of the first one that has axes."""
    return next((len(array) for array in inputs.values() if array.ndim), 1)


def refuse_unequal_rows(inputs: Mapping[str, Array], manifest: Manifest) -> None:
    """Raises BadInput `tensors_invalid` for inputs whose first axis counts the same rows and differs in length.

    onnxruntime would broadcast one row to all. Axes that the model names otherwise count something else.
    """
    lengths: dict[str, tuple[str, int]] = {}
    for tensor in manifest.inputs:
        if not tensor.shape or tensor.shape[0] != -1:
            continue
        counts = tensor.dimensions[0] if tensor.dimensions else ""
        first, rows = lengths.setdefault(counts, (tensor.name, len(inputs[tensor.name])))
        if len(inputs[tensor.name]) != rows:
            words = (
                f"input {tensor.name!r} has {len(inputs[tensor.name])} rows, input {first!r} has {rows}: as many each"
            )
            raise BadInput(Code.TENSORS_INVALID, words)


def answer_of(outputs: list[Array], *, regression: bool) -> Answer:
    """Returns the first value of the first output, shape (rows, ...): a number, or the name of a class as text."""
    first = outputs[0].item(0)
    if regression:
        return float(first)
    return first if isinstance(first, float) else str(first)


def confidence_of(outputs: Sequence[Array], number: int) -> float | None:
    """Returns a row's largest probability if the second output is float, shape (rows, classes); else None."""
    if len(outputs) < 2 or outputs[1].ndim != 2 or outputs[1].dtype.kind != "f" or number >= len(outputs[1]):
        return None
    largest = float(outputs[1][number].max())
    return largest if 0.0 <= largest <= 1.0 else None


def _largest_square(dtype: np.dtype[Any]) -> float:
    """The largest sum of squares at which no cell can be too large for `dtype`."""
    largest = float(np.finfo(dtype).max)
    return largest * largest if largest < 1e150 else float(np.finfo(np.float64).max)


def _held(dtype: np.dtype[Any]) -> Any:
    return object if dtype.kind == "U" else dtype
