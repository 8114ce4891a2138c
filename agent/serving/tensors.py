"""Tensors of the Open Inference Protocol to arrays and back: as JSON, and as raw little-endian bytes.

Decides what a tensor must look like to be one of a model's inputs, and says which field was wrong.
Refuses to know routes and sessions. Source: https://github.com/triton-inference-server/server, protocol extensions.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, Tensor

MAX_ELEMENTS = 16 * 1024 * 1024
SLICE_BYTES = 128 * 1024
"""Of a list in JSON that is read at once, with the interpreter's lock: 2 ms."""
_CELL: dict[str, Any] = {"BOOL": bool, "BYTES": str, "FP16": float, "FP32": float, "FP64": float}


class TensorParameters(msgspec.Struct):
    """Parameters of a tensor. Unknown ones are ignored, as the protocol requires."""

    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class GivenTensor(msgspec.Struct):
    """An input in a request; `data` is parsed once its datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    parameters: TensorParameters | None = None
    data: msgspec.Raw = msgspec.Raw()


def read_tensor(given: GivenTensor, wanted: Tensor, binary: memoryview | None, *, refuse_nan: bool) -> Array:
    """Returns the array in `given`, of its own shape and of the manifest's datatype (object for BYTES).

    BadInput `tensors_invalid` names the tensor and the field.
    """
    if given.datatype != wanted.datatype:
        raise _wrong(given, "datatype", f"{given.datatype[:20]!r}, the model takes {wanted.datatype}")
    count = _check_shape(given, wanted)
    array = _from_json(given, count) if binary is None else _from_binary(given, count, binary)
    if refuse_nan and array.dtype.kind == "f" and np.isnan(array).any():
        raise _wrong(given, "data", "holds null or NaN, and the model was not fitted to miss a value")
    return array.reshape(given.shape)


def as_json(tensor: Tensor, array: Array) -> dict[str, Any]:
    """Returns an output with its data as a flat list, from an array of any shape."""
    data = array.tolist() if array.ndim == 1 else array.ravel().tolist()
    return {"name": tensor.name, "shape": array.shape, "datatype": tensor.datatype, "data": data}


def as_binary(tensor: Tensor, array: Array) -> tuple[dict[str, Any], bytes]:
    """Returns an output, from an array of any shape, and its data: little-endian bytes that follow the JSON."""
    raw = _text_bytes(array) if tensor.datatype == "BYTES" else _little_endian(array)
    parameters = {"binary_data_size": len(raw)}
    shape = list(array.shape)
    return {"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "parameters": parameters}, raw


def _check_shape(given: GivenTensor, wanted: Tensor) -> int:
    """Returns the number of elements; BadInput if the model does not take the shape."""
    fits = len(given.shape) == len(wanted.shape)
    for size, expected in zip(given.shape, wanted.shape, strict=False):
        fits = fits and size >= 0 and expected in (-1, size)
    if not fits:
        raise _wrong(given, "shape", f"{given.shape[:8]}, the model takes {list(wanted.shape)}")
    count = math.prod(given.shape)
    if count > MAX_ELEMENTS:
        raise _wrong(given, "shape", f"{count} elements, limit {MAX_ELEMENTS}")
    return count


def _from_json(given: GivenTensor, count: int) -> Array:
    if not given.data:
        raise _wrong(given, "data", "is missing")
    depth = _depth(bytes(memoryview(given.data)[:64]), len(given.shape))
    dtype: Any = object if given.datatype == "BYTES" else DATATYPES[given.datatype]
    try:
        if depth == 1 and dtype is not object and len(memoryview(given.data)) > SLICE_BYTES:
            array = _in_slices(bytes(given.data), given.datatype)
        else:
            array = np.array(_cells(given.data, given.datatype, depth), dtype=dtype)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise _wrong(given, "data", str(error)[:200]) from None
    if array.size != count:
        raise _wrong(given, "data", f"{array.size} elements for shape {given.shape[:8]}")
    return array


def _in_slices(data: bytes, datatype: str) -> Array:
    """Reads a long flat list piece by piece, cut at commas, so that other threads have their turn between two."""
    inner, at, arrays = data.strip()[1:-1], 0, list[Array]()
    while at <= len(inner):
        cut = inner.find(b",", at + SLICE_BYTES)
        end = len(inner) if cut < 0 else cut
        cells = _cells(b"[" + inner[at:end] + b"]", datatype, 1)
        if not cells and (arrays or cut >= 0):
            raise ValueError("a comma without a number")
        arrays.append(np.array(cells, dtype=DATATYPES[datatype]))
        at = end + 1
    return np.concatenate(arrays)


def _cells(data: msgspec.Raw | bytes, datatype: str, depth: int) -> Any:
    """Reads nested lists. Real numbers may be null, which becomes NaN: they are looked for where reading has failed."""
    try:
        return _decoder(datatype, depth)(data)
    except msgspec.ValidationError:
        if _CELL.get(datatype) is not float or b"null" not in bytes(data):
            raise
        return _decoder(datatype, depth, nullable=True)(data)


@lru_cache(maxsize=64)
def _decoder(datatype: str, depth: int, *, nullable: bool = False) -> Callable[[msgspec.Raw | bytes], Any]:
    """Reads lists of a datatype's cells, `depth` deep."""
    kind: Any = _CELL.get(datatype, int)
    if nullable:
        kind = kind | None
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind).decode


def _depth(start: bytes, most: int) -> int:
    """Returns how deep the lists are nested: flat data and data in the tensor's shape are both allowed."""
    opened = 0
    for byte in start:
        if byte == 0x5B:
            opened += 1
        elif byte not in b" \t\r\n":
            break
    return max(1, min(opened, most)) if opened or most else 0


def _from_binary(given: GivenTensor, count: int, raw: memoryview) -> Array:
    if given.datatype == "BYTES":
        return _texts(given, count, raw)
    dtype = np.dtype(DATATYPES[given.datatype]).newbyteorder("<")
    if len(raw) != count * dtype.itemsize:
        raise _wrong(
            given, "binary_data_size", f"{len(raw)} bytes, shape {given.shape[:8]} needs {count * dtype.itemsize}"
        )
    return np.frombuffer(raw, dtype=dtype)


def _texts(given: GivenTensor, count: int, raw: memoryview) -> Array:
    found: list[str] = []
    at = 0
    while at < len(raw) and len(found) < count:
        if at + 4 > len(raw):
            break
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4 + length
        if at > len(raw):
            break
        try:
            found.append(bytes(raw[at - length : at]).decode())
        except UnicodeDecodeError as error:
            raise _wrong(given, "data", f"element {len(found)} is no UTF-8: {error.reason}") from None
    if len(found) != count or at != len(raw):
        raise _wrong(given, "binary_data_size", f"{len(raw)} bytes do not hold {count} strings with their lengths")
    return np.array(found, dtype=object)


def _text_bytes(array: Array) -> bytes:
    cells = [str(cell).encode() for cell in array.ravel()]
    return b"".join(struct.pack("<I", len(cell)) + cell for cell in cells)


def _little_endian(array: Array) -> bytes:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _wrong(given: GivenTensor, field: str, words: str) -> BadInput:
    return BadInput(Code.TENSORS_INVALID, f"input {given.name[:64]!r}: {field}: {words}")
