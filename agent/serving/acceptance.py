"""The arrays that one version accepts: names, types, ranks and sizes, one size for each named dimension, and missing
cells.

Decides after a failed run whether the arrays caused it: the check takes no time for a request that the model
accepts. Refuses to know where arrays come from.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from agent.ports import Array
from agent.serving.cells import lacks_text
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, Manifest, Tensor

FEW = 2048
"""The most numbers of which the sum of squares is computed at once."""
MAX_NAMED = 8
"""The most columns that an error names."""
ROWS = "rows"
"""The name of the first dimension where a manifest names none: one input for each column has one row each."""


class Acceptance:
    """The arrays that one version accepts; all decisions are made once, from its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.tensors = {tensor.name: tensor for tensor in manifest.inputs}
        self._refuses_nan = manifest.nan == "refuse"
        self._required = [at for at, name in enumerate(manifest.columns) if name in manifest.required]
        self._columns = manifest.columns
        self._texts = dict(manifest.missing_text)
        self._stand_ins = tuple(self._texts.get(name) for name in manifest.columns)
        self.texts = tuple(tensor.name for tensor in manifest.inputs if tensor.datatype == "BYTES")
        """Inputs of text."""
        self.tied = _tied(manifest)
        """Axes that must have one size: for each name of a dimension (input, axis), two or more of them."""

    def check(self, inputs: Mapping[str, Any]) -> None:
        """Checks everything; BadInput `tensors_invalid`, `value_missing`, `value_range` names the input."""
        if not isinstance(inputs, Mapping):
            words = f"the inputs are a {type(inputs).__name__}; the model takes a dict of arrays by input name"
            raise _wrong(f"{words}, {', '.join(self.tensors)}")
        for name in inputs:
            if name not in self.tensors:
                raise _wrong(f"input {name[:64]!r} is unknown; the model takes {', '.join(self.tensors)}")
        for name, tensor in self.tensors.items():
            if name not in inputs:
                raise _wrong(f"input {name!r} is missing")
            _check_array(tensor, inputs[name])
        self.check_first(inputs)
        for name in self.tensors:
            self.check_values(name, inputs[name])

    def check_first(self, inputs: Mapping[str, Array]) -> None:
        """Checks for errors that no run would notice: `check_sizes` and `check_texts`."""
        self.check_sizes(inputs)
        self.check_texts(inputs)

    def check_sizes(self, inputs: Mapping[str, Array]) -> None:
        """Checks that dimensions of one name have one size; BadInput `tensors_invalid`."""
        for name, axes in self.tied:
            sizes = {inputs[each].shape[axis] for each, axis in axes if inputs[each].ndim > axis}
            if len(sizes) > 1:
                found = ", ".join(f"{each} has {inputs[each].shape[axis]}" for each, axis in axes[:4])
                raise _wrong(f"dimension {name!r} has one size in a request; {found}")

    def check_texts(self, inputs: Mapping[str, Array]) -> None:
        """Checks that cells of text are texts, as the runtime writes `None` and `nan` for missing ones; BadInput."""
        for name in self.texts:
            array = inputs.get(name)
            if isinstance(array, np.ndarray) and array.dtype.kind == "O":
                _check_texts(name, array)

    def check_values(self, name: str, array: Array) -> None:
        """Checks for NaN where the model requires a number, and for infinity; BadInput."""
        if array.dtype.kind != "f" or _is_finite(array):
            return
        if np.isinf(array).any():
            where = _words_of(self._holding(name, np.isinf(array)), np.isinf(array))
            raise BadInput(Code.VALUE_RANGE, f"input {name!r}: infinity{where} is no measurement")
        if self._refuses_nan:
            where = _words_of(self._holding(name, np.isnan(array)), np.isnan(array))
            raise BadInput(Code.VALUE_MISSING, f"input {name!r}: holds NaN{where}, and the model requires every value")
        if lacking := self._lacking(name, array):
            missing = np.isnan(array)
            where = _words_of(lacking, missing[:, self._required] if len(self.tensors) == 1 else missing)
            raise BadInput(Code.VALUE_MISSING, f"input {name!r}: NaN{where}, required")

    def stand_ins(self, name: str) -> tuple[str | None, ...]:
        """Returns the text that replaces a missing one in each column of an input; None if the column
        requires one.
        """
        return self._stand_ins if len(self.tensors) == 1 else (self._texts.get(name),)

    def column_names(self, name: str) -> tuple[str, ...]:
        """Returns the names of an input's columns, in their order: its own name for an input that is one column."""
        return self._columns if len(self.tensors) == 1 and self._columns else (name,)

    def blame(self, inputs: Mapping[str, Any]) -> BadInput | None:
        """Returns what is wrong with arrays on which a run failed; None if the model caused the failure."""
        try:
            self.check(inputs)
        except BadInput as error:
            return error
        return None

    def _lacking(self, name: str, array: Array) -> list[str]:
        """Returns the required columns in which a float array holds NaN."""
        required = {self._columns[at] for at in self._required}
        found = self._holding(name, np.isnan(array))
        return [column for column in found if column in required]

    def _holding(self, name: str, marked: Array) -> list[str]:
        """Returns the columns of an input in which a bool array of its shape holds a True; empty without columns."""
        if len(self.tensors) > 1:
            return [name] if name in self._columns and marked.any() else []
        if marked.ndim != 2 or marked.shape[1] != len(self._columns):
            return []
        return [column for at, column in enumerate(self._columns) if marked[:, at].any()]


def _check_texts(name: str, array: Array) -> None:
    """Checks that each cell of an array of objects is a text, and can be written as UTF-8; BadInput."""
    for at, cell in enumerate(array.flat):
        if not isinstance(cell, str):
            if lacks_text(cell):
                raise BadInput(Code.VALUE_MISSING, f"input {name!r}: element {at} is missing: pass what stands for it")
            raise _wrong(f"input {name!r}: element {at} is a {type(cell).__name__}; the model takes text")
        if not cell.isascii():
            try:
                cell.encode()
            except UnicodeEncodeError as error:
                raise _wrong(f"input {name!r}: element {at} is no UTF-8: {error.reason}") from None


def _words_of(columns: Sequence[str], marked: Array) -> str:
    """Returns ` in a, b (row 2)` for up to `MAX_NAMED` columns and the first of several rows; empty for no column.

    `marked`: bool, by element of the input. Rows count from 0.
    """
    several = bool(columns) and marked.ndim > 0 and len(marked) > 1
    row = f" (row {int(np.nonzero(marked)[0][0])})" if several else ""
    return f" in {', '.join(columns[:MAX_NAMED])[:200]}{row}" if columns else ""


def _is_finite(array: Array) -> bool:
    """Whether a float array holds neither infinity nor NaN.

    The sum of squares shows both in a third of the time, but only for few numbers: more would be spread over threads.
    """
    if array.size <= FEW and math.isfinite(np.vdot(array, array)):
        return True
    return bool(np.isfinite(array).all())


@lru_cache(maxsize=8)
def acceptance_of(manifest: Manifest) -> Acceptance:
    """Returns the acceptance of a version, cached, because it depends on the manifest alone."""
    return Acceptance(manifest)


def unanswerable(inputs: Mapping[str, Array], answers: Array) -> bool:
    """Whether every answer that is not finite answers a row that holds infinity or NaN.

    `answers` is float of shape (rows, ...). Those are no fault of the model; any other non-finite answer is.
    """
    rows = len(answers) if answers.ndim else 1
    bad = ~np.isfinite(answers.reshape(rows, -1)).all(axis=1)
    excused = np.zeros(rows, dtype=bool)
    for array in inputs.values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            fits = array.ndim > 0 and len(array) == rows
            excused |= ~np.isfinite(array.reshape(rows, -1)).all(axis=1) if fits else True
    return bool((excused | ~bad).all())


def takes_shape(tensor: Tensor, shape: Sequence[int]) -> bool:
    """Whether an input accepts arrays of this shape. A caller may send a negative size, which is never accepted."""
    fits = len(shape) == len(tensor.shape)
    for size, expected in zip(shape, tensor.shape, strict=False):
        fits = fits and size >= 0 and expected in (-1, size)
    return fits


def _check_array(tensor: Tensor, array: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise _wrong(f"input {tensor.name!r} is a {type(array).__name__}; the model takes a numpy array")
    wanted = DATATYPES[tensor.datatype]
    fits = array.dtype.kind in "OU" if wanted == "str" else array.dtype == np.dtype(wanted)
    if not fits:
        raise _wrong(f"input {tensor.name!r} is {array.dtype}; the model takes {wanted}{_cast(array, wanted)}")
    if not takes_shape(tensor, array.shape):
        raise _wrong(f"input {tensor.name!r} has shape {list(array.shape)}; the model takes {list(tensor.shape)}")


def _cast(array: Array, wanted: str) -> str:
    """Returns a hint about a number of another type if the push judged the same cast; "" if a cast may lose digits."""
    real = array.dtype.kind == "f" and wanted.startswith("float")
    return f": pass array.astype(numpy.{wanted}), as the rows of its push were" if real else ""


def _tied(manifest: Manifest) -> list[tuple[str, list[tuple[str, int]]]]:
    by_name: dict[str, list[tuple[str, int]]] = {}
    for name, tensor, axis in _named_axes(manifest):
        by_name.setdefault(name, []).append((tensor, axis))
    return [(name, axes) for name, axes in by_name.items() if len(axes) > 1]


def _named_axes(manifest: Manifest) -> Iterable[tuple[str, str, int]]:
    """Yields (name of the dimension, input, axis)."""
    by_column = len(manifest.inputs) > 1 and len(manifest.inputs) == len(manifest.columns)
    for tensor in manifest.inputs:
        for axis, name in enumerate(tensor.dimensions):
            if name:
                yield name, tensor.name, axis
        if by_column and not tensor.dimensions and tensor.shape[:1] == (-1,):
            yield ROWS, tensor.name, 0


def _wrong(words: str) -> BadInput:
    return BadInput(Code.TENSORS_INVALID, words[:400])
