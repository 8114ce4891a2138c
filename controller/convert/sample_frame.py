"""The sample in two forms, for the estimator and for ONNX.

Decides whether the model gets one matrix or one input per column. Refuses to know what the estimator answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from contract.answers.recorded import MAX_ANSWERED_ROWS
from contract.errors import BadInput, Code
from contract.tensors import Array

MAX_PARITY_ROWS = MAX_ANSWERED_ROWS
MATRIX_INPUT = "X"


@dataclass(frozen=True)
class SampleFrame:
    """Rows in both forms: `frame` (a DataFrame or an array) feeds the estimator, `arrays(real)` feeds onnxruntime."""

    frame: Any
    columns: tuple[str, ...]
    as_matrix: bool
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    """The text that replaces a missing one in ONNX, which has no missing text, by column."""
    texts_alone: bool = False
    """Whether the estimator gets the texts of the one column as a list."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def given(self) -> Any:
        """Returns the rows in the form that the estimator gets."""
        return self.frame[self.columns[0]].to_numpy() if self.texts_alone else self.frame

    def arrays(self, real: str) -> dict[str, Array]:
        """Returns the inputs by name. `real` is the dtype of real numbers: `float32` or `float64`.

        A matrix has the shape (rows, columns) and is all `real`. A column has the shape (rows, 1), and is `real`, int64
        or, for text, object.
        """
        if self.as_matrix:
            return {MATRIX_INPUT: np.asarray(self.frame, dtype=real)}
        return {name: _column(self.frame[name].to_numpy(), real, self.stand_ins.get(name, "")) for name in self.columns}

    def part(self, rows: Any) -> "SampleFrame":
        """Some of the rows: a slice, or a bool array of shape (rows,)."""
        return replace(self, frame=self.frame[rows])

    @property
    def text_columns(self) -> list[str]:
        """Columns that hold text."""
        if not isinstance(self.frame, pd.DataFrame):
            return []
        return [name for name in self.columns if _is_text(self.frame[name].to_numpy())]

    def missing(self, name: str) -> Array:
        """Which rows lack their number or text of a column: bool of shape (rows,)."""
        if isinstance(self.frame, pd.DataFrame):
            return np.asarray(self.frame[name].isna())
        return np.asarray(np.isnan(self.frame[:, self.columns.index(name)]))

    def has_text(self, name: str, text: str) -> bool:
        """Whether a cell of a column holds exactly this text."""
        return bool((self.frame[name] == text).any())

    def is_real(self, name: str) -> bool:
        """Tells whether a column holds real numbers."""
        if isinstance(self.frame, pd.DataFrame):
            return bool(pd.api.types.is_float_dtype(self.frame[name]))
        return bool(np.issubdtype(self.frame.dtype, np.floating))

    def row(self, index: int) -> dict[str, str]:
        """Returns one row as text by column name, for people."""
        values = self.frame.iloc[index] if isinstance(self.frame, pd.DataFrame) else self.frame[index]
        return {name: str(value) for name, value in zip(self.columns, values, strict=True)}


def read_sample(sample: Array | Mapping[str, Array], *, named: bool) -> SampleFrame:
    """Returns the first MAX_PARITY_ROWS rows of a matrix (rows, columns) or of columns (rows,) by name.

    `named`: the estimator addresses columns by name. BadInput `sample_invalid` for arrays of other ranks.
    """
    shapes = {sample.ndim - 1} if isinstance(sample, np.ndarray) else {array.ndim for array in sample.values()}
    if shapes != {1}:
        raise BadInput(Code.SAMPLE_INVALID, "an estimator takes rows as a 2-D array, or as columns of one dimension")
    if isinstance(sample, np.ndarray):
        columns = tuple(f"x{index}" for index in range(sample.shape[1]))
        return SampleFrame(sample[:MAX_PARITY_ROWS], columns, as_matrix=True)
    frame = pd.DataFrame({name: _plain(column) for name, column in sample.items()}).iloc[:MAX_PARITY_ROWS]
    numeric = all(np.issubdtype(column.dtype, np.number) for column in sample.values())
    return SampleFrame(frame, tuple(sample), as_matrix=numeric and not named)


def _is_text(column: Array) -> bool:
    return not (np.issubdtype(column.dtype, np.number) or np.issubdtype(column.dtype, np.bool_))


def _column(column: Array, real: str, stand_in: str) -> Array:
    if np.issubdtype(column.dtype, np.floating):
        return column.astype(real).reshape(-1, 1)
    if np.issubdtype(column.dtype, np.bool_) or np.issubdtype(column.dtype, np.integer):
        return column.astype(np.int64).reshape(-1, 1)
    texts = column.astype(str).astype(object)
    texts[pd.isna(column)] = stand_in
    return texts.reshape(-1, 1)


def _plain(column: Array) -> Array:
    return column.astype(object) if column.dtype.kind == "U" else column
