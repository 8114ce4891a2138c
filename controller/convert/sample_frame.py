"""The sample in two forms, for the estimator and for ONNX, and rows that lie on decision boundaries.

Decides whether the model gets one matrix or one input per column. Refuses to know what the estimator answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from contract.errors import BadInput, Code
from contract.tensors import Array

MAX_PARITY_ROWS = 2000
MAX_BOUNDARY_ROWS = 500
MISSING_ROWS = 128
MATRIX_INPUT = "X"


@dataclass(frozen=True)
class SampleFrame:
    """Rows in both forms: `frame` (a DataFrame or an array) feeds the estimator, `arrays(real)` feeds onnxruntime."""

    frame: Any
    columns: tuple[str, ...]
    as_matrix: bool
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    """By column, the text that stands for a missing one in ONNX, which knows no missing text."""

    def __len__(self) -> int:
        return len(self.frame)

    def arrays(self, real: str) -> dict[str, Array]:
        """Returns the inputs by name. `real` is the dtype of real numbers: `float32` or `float64`.

        A matrix has the shape (rows, columns) and is all `real`. A column has the shape (rows, 1), and is `real`, int64
        or, for text, object.
        """
        if self.as_matrix:
            return {MATRIX_INPUT: np.asarray(self.frame, dtype=real)}
        return {name: _column(self.frame[name].to_numpy(), real, self.stand_ins.get(name, "")) for name in self.columns}

    @property
    def text_columns(self) -> list[str]:
        """Columns that hold text."""
        if not isinstance(self.frame, pd.DataFrame):
            return []
        return [name for name in self.columns if _is_text(self.frame[name].to_numpy())]

    def has_text(self, name: str, text: str) -> bool:
        """Whether a cell of a column holds this very text."""
        return bool((self.frame[name] == text).any())

    def is_real(self, name: str) -> bool:
        """Tells whether a column holds real numbers."""
        if isinstance(self.frame, pd.DataFrame):
            return bool(pd.api.types.is_float_dtype(self.frame[name]))
        return bool(np.issubdtype(self.frame.dtype, np.floating))

    def with_missing(self, names: Sequence[str]) -> "SampleFrame":
        """The first rows; in the one or the other of the columns `names` each lacks its number or its text."""
        count = min(len(self), MISSING_ROWS)
        frame = self.frame[:count].copy()
        for number, name in enumerate(names):
            lacking = np.arange(count) % len(names) == number
            if isinstance(frame, pd.DataFrame):
                frame.loc[lacking, name] = _how_missing(self.frame[name])
            else:
                frame[lacking, self.columns.index(name)] = np.nan
        return replace(self, frame=frame)

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


def boundary_rows(sample: SampleFrame, seed: int = 0) -> SampleFrame:
    """Returns at most MAX_BOUNDARY_ROWS rows whose real numbers lie midway between neighbouring values of their column.

    Decision trees put their thresholds exactly there. Other columns keep the values of a sample row.
    """
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, len(sample), size=min(MAX_BOUNDARY_ROWS, 4 * len(sample)))
    frame = sample.frame
    moved = frame.iloc[picked].copy() if isinstance(frame, pd.DataFrame) else frame[picked].copy()
    for position, name in enumerate(sample.columns):
        column = frame[name].to_numpy() if isinstance(frame, pd.DataFrame) else frame[:, position]
        if not np.issubdtype(column.dtype, np.floating):
            continue
        between = _midpoints(column)
        if between.size:
            drawn = rng.choice(between, size=len(picked)).astype(column.dtype)
            _assign(moved, name, position, drawn)
    return replace(sample, frame=moved)


def _assign(moved: Any, name: str, position: int, drawn: Array) -> None:
    if isinstance(moved, pd.DataFrame):
        moved[name] = drawn
    else:
        moved[:, position] = drawn


def _midpoints(column: Array) -> Array:
    values = np.unique(column[np.isfinite(column)])
    middle: Array = (values[:-1] + values[1:]) / 2
    return middle


def _how_missing(column: Any) -> Any:
    """How a column says that a cell is missing: None where it does so in the sample, else NaN."""
    return None if any(cell is None for cell in column.to_numpy()) else np.nan


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
