"""The sample of a model that was pushed as ONNX: arrays for its inputs, by name, in the types that it declares.

Decides which array belongs to which input, and whether the first axis counts rows of one run or runs. A model that
takes one matrix gets columns in their order; any other gets arrays by the names of its inputs. Refuses to know
estimators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contract.answers.recorded import MAX_ANSWERED_ROWS
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, Tensor
from contract.tensors import Array

GOLDEN_ROWS = 64
MAX_GOLDEN_BYTES = 4 << 20
"""Bytes of the inputs in a golden set, which every device fetches with the model: of large rows it holds fewer."""
MAX_NAMES_CHARS = 150
"""The most characters of each of the two lists in a refusal."""


@dataclass(frozen=True, slots=True)
class TensorSample:
    """Arrays by input name, in the model's order. Either all have the rank that the model declares and the first axis
    counts rows, or all have one dimension more and the first axis counts runs (`contract.golden.by_run`).
    """

    arrays: dict[str, Array]
    columns: tuple[str, ...]
    """Names of the features of one matrix, or of one input for each column; () if inputs have other shapes."""


def match_sample(sample: Array | Mapping[str, Array], inputs: Sequence[Tensor]) -> TensorSample:
    """Returns the arrays of a sample for a model's inputs. BadInput `sample_invalid` says what does not match, with
    both sides.

    Of very many rows only the first are used.
    """
    named, columns = _by_name(sample, inputs)
    arrays = {tensor.name: _typed(named[tensor.name], tensor) for tensor in inputs}
    arrays = {tensor.name: _of_one_column(arrays[tensor.name], tensor) for tensor in inputs}
    runs = [array.ndim - len(tensor.shape) for array, tensor in zip(arrays.values(), inputs, strict=True)]
    if set(runs) == {0, 1}:  # one value of a scalar counts for all runs
        count = max(len(array) for array, more in zip(arrays.values(), runs, strict=True) if more)
        scalar = {tensor.name for tensor, more in zip(inputs, runs, strict=True) if not more and not tensor.shape}
        arrays = {name: np.full(count, array) if name in scalar else array for name, array in arrays.items()}
    _check_ranks(arrays, inputs)
    rows = {len(array) for array in arrays.values() if array.ndim}
    if len(rows) != 1:
        words = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise _wrong(f"first axes of a sample count rows and must be equal, they are {words}: {_STACK}")
    return TensorSample(
        {name: array[:MAX_ANSWERED_ROWS] if array.ndim else array for name, array in arrays.items()}, columns
    )


_STACK = "where the model's own first axis is not rows, as for a state, give every array one axis more, a run in each"


def _by_name(
    sample: Array | Mapping[str, Array], inputs: Sequence[Tensor]
) -> tuple[Mapping[str, Array], tuple[str, ...]]:
    """(array by input, names of columns)."""
    first = inputs[0]
    if isinstance(sample, np.ndarray):
        if len(inputs) > 1:
            raise _wrong(f"the model takes {_names(inputs)}; the sample is one array without a name: name one for each")
        return {first.name: sample}, _features(sample, first)
    if set(sample) == {tensor.name for tensor in inputs}:
        single = len(inputs) > 1 and all(_is_column(sample[tensor.name], tensor) for tensor in inputs)
        columns = tuple(tensor.name for tensor in inputs) if single else ()
        return sample, columns or (_features(sample[first.name], first) if len(inputs) == 1 else ())
    if len(inputs) == 1 and len(first.shape) == 2 and all(array.ndim == 1 for array in sample.values()):
        return {first.name: _matrix(sample)}, tuple(sample)
    raise _wrong(f"the model takes {_names(inputs)}; the sample has {', '.join(sample)[:MAX_NAMES_CHARS]}")


def _features(array: Array, tensor: Tensor) -> tuple[str, ...]:
    """Returns names for the features of a matrix without names."""
    if len(tensor.shape) != 2 or array.ndim > 2:
        return ()
    return tuple(f"x{index}" for index in range(array.shape[1] if array.ndim == 2 else 1))


def _matrix(columns: Mapping[str, Array]) -> Array:
    texts = {array.dtype.kind in "OUS" for array in columns.values()}
    if len(texts) > 1:
        raise _wrong("the model takes one matrix; the sample's columns are numbers and texts")
    return np.stack(list(columns.values()), axis=1)


def _is_column(array: Array, tensor: Tensor) -> bool:
    fits = len(tensor.shape) == 2 and tensor.shape[1] in (-1, 1)
    return fits and (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1))


def _of_one_column(array: Array, tensor: Tensor) -> Array:
    return array.reshape(-1, 1) if array.ndim == 1 and _is_column(array, tensor) else array


def _typed(array: Array, tensor: Tensor) -> Array:
    """Returns the array in the declared type; refused if that would change a value."""
    wanted, text = np.dtype(DATATYPES[tensor.datatype]), array.dtype.kind in "OUS"
    if text != (tensor.datatype == "BYTES") or array.dtype.kind not in "biufOUS":
        raise _wrong(f"input {tensor.name} takes {tensor.datatype}, the sample holds {array.dtype}")
    if text:
        return array.astype(np.str_).astype(object)
    with np.errstate(invalid="ignore", over="ignore"):
        typed = array.astype(wanted)
        lossy = wanted.kind != "f" and not np.array_equal(typed.astype(array.dtype), array)
    if lossy:
        at = np.argwhere(typed.astype(array.dtype) != array)[0].tolist()
        raise _wrong(f"input {tensor.name} takes {tensor.datatype}, the sample holds {array[tuple(at)]} at {at}")
    return typed


def _check_ranks(arrays: Mapping[str, Array], inputs: Sequence[Tensor]) -> None:
    more = {array.ndim - len(tensor.shape) for array, tensor in zip(arrays.values(), inputs, strict=True)}
    if more not in ({0}, {1}):
        words = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in inputs)
        given = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise _wrong(f"the model takes {words}; the sample has {given}: all of the same rank, or {_STACK}")


def _names(inputs: Sequence[Tensor]) -> str:
    return ", ".join(tensor.name for tensor in inputs)[:MAX_NAMES_CHARS]


def _wrong(words: str) -> BadInput:
    return BadInput(Code.SAMPLE_INVALID, words)


def golden_rows(inputs: Mapping[str, Array]) -> int:
    """Returns how many rows, or runs, of these inputs a golden set holds."""
    counted = [array for array in inputs.values() if array.ndim]
    row_bytes = sum(array.nbytes // max(len(array), 1) for array in counted)
    return max(1, min(GOLDEN_ROWS, MAX_GOLDEN_BYTES // max(row_bytes, 1), *(len(array) for array in counted)))


def first_rows(inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Returns the first rows, or runs; scalars belong to all rows."""
    return {name: array[:rows] if array.ndim else array for name, array in inputs.items()}
