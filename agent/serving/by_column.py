"""A request that sends one tensor for each column to a model whose single input is a matrix of all columns.

Decides which requests are read so, and how their tensors become the matrix, in the model's order. Refuses to know how a
tensor is read. Only a request with an input of unknown name comes here: all others take no time for it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array
from agent.serving.tensors import GivenTensor
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, Manifest, Tensor

MAX_NAMED = 10
"""The most missing or unknown columns that a refusal names."""


def matrix_columns(manifest: Manifest) -> tuple[str, ...]:
    """Returns the columns of the model's single input [rows, columns], in their order; empty for any other model."""
    columns = manifest.columns
    shape = manifest.inputs[0].shape if len(manifest.inputs) == 1 else ()
    fits = len(shape) == 2 and shape[0] == -1 and shape[1] in (-1, len(columns))
    return columns if fits and len(set(columns)) == len(columns) else ()


def split_by_column(manifest: Manifest, given: Sequence[GivenTensor]) -> tuple[Manifest, list[GivenTensor]] | None:
    """Returns the manifest with an input [rows, 1] for each column, and the tensors as that one takes them.

    None if no tensor has the name of a column. BadInput `tensors_invalid` names missing and unknown columns.
    """
    columns = matrix_columns(manifest)
    names = {tensor.name for tensor in given}
    if names.isdisjoint(columns):
        return None
    _refuse_other_columns(columns, names)
    wanted = manifest.inputs[0].datatype
    shaped = [_as_column(tensor, wanted) for tensor in given]
    types = {tensor.name: tensor.datatype for tensor in shaped}
    return _with_columns(manifest, tuple(_type_read(types[name], wanted) for name in columns)), shaped


def joined(manifest: Manifest, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the matrix (rows, columns) of arrays (rows, 1) by column, by the name and in the type of the input.

    BadInput `value_range` for a number that the type cannot hold.
    """
    tensor = manifest.inputs[0]
    dtype: Any = object if tensor.datatype == "BYTES" else np.dtype(DATATYPES[tensor.datatype])
    parts = [_cast(name, arrays[name], dtype, tensor.datatype) for name in manifest.columns]
    return {tensor.name: np.concatenate(parts, axis=1)}


def _refuse_other_columns(columns: Sequence[str], names: set[str]) -> None:
    wrong = [
        f"{_listed(found)} {'is' if len(found) == 1 else 'are'} {why}"
        for why, found in (
            ("missing", [name for name in columns if name not in names]),
            ("unknown", sorted(names.difference(columns))),
        )
        if found
    ]
    if wrong:
        words = f"{'; '.join(wrong)}: send one tensor for each of the {len(columns)} columns, or all in one"
        raise BadInput(Code.TENSORS_INVALID, words)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:64]) for name in names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"column{'s' if len(names) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''}"


def _as_column(given: GivenTensor, wanted: str) -> GivenTensor:
    """Returns a tensor with shape [rows, 1]. Numbers in JSON have no type of their own: the input's is taken."""
    shape = [*given.shape, 1] if len(given.shape) == 1 else given.shape
    is_json = given.parameters is None or given.parameters.binary_data_size is None
    datatype = wanted if is_json and _type_read(given.datatype, wanted) == given.datatype else given.datatype
    return msgspec.structs.replace(given, shape=shape, datatype=datatype)


def _type_read(given: str, wanted: str) -> str:
    """Returns the type in which a tensor is read: its own if both are numbers, else the one that refuses others."""
    both = given in DATATYPES and "BYTES" not in (given, wanted)
    return given if both else wanted


@lru_cache(maxsize=8)
def _with_columns(manifest: Manifest, datatypes: tuple[str, ...]) -> Manifest:
    """Returns the manifest with an input for each column. Cached: a client sends the same types each time."""
    pairs = zip(manifest.columns, datatypes, strict=True)
    inputs = tuple(Tensor(name=name, datatype=datatype, shape=(-1, 1)) for name, datatype in pairs)
    return msgspec.structs.replace(manifest, inputs=inputs)


def _cast(name: str, array: Array, dtype: Any, datatype: str) -> Array:
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(dtype)
    lost = np.isinf(found) & np.isfinite(array) if dtype.kind == "f" else found != array
    if bool(lost.any()):
        raise BadInput(Code.VALUE_RANGE, f"column {name[:64]!r}: a number does not fit {datatype}")
    return found
