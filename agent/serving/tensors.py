"""Tensors of the Open Inference Protocol, converted to arrays and back, as JSON and as raw little-endian bytes.

Decides which tensors a model's inputs accept, and which field an error names. Refuses to know routes and sessions.
Source: https://github.com/triton-inference-server/server, protocol extensions.
"""

import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array
from agent.serving.acceptance import Acceptance, takes_shape
from agent.serving.cells import reader_of
from contract.errors import BadInput, Code
from contract.interface import CONVERTED
from contract.manifest import DATATYPES, Tensor

_NARROW: dict[str, tuple[str, Any]] = {
    "FP16": ("e", np.dtype(np.float16)),
    "FP32": ("f", np.dtype(np.float32)),
}
"""By datatype: its name in `struct`, and numpy's dtype."""
MAX_PACKED = 64 * 1024
"""The most cells that are packed at once, which takes a third of numpy's time or less: as many as `SLICE_BYTES` can
hold.
"""
MAX_ELEMENTS = 16 * 1024 * 1024
SLICE_BYTES = 128 * 1024
"""Bytes of a JSON list that are read at once: this holds the interpreter's lock for 2 ms."""
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


class ReadTensor(GivenTensor):
    """An input whose data `long_lists` has read already."""

    numbers: Array = np.empty(0)
    """Flat, of the input's datatype."""


def read_tensor(given: GivenTensor, wanted: Tensor, binary: memoryview | None, acceptance: Acceptance) -> Array:
    """Returns the array in `given`, of its own shape and of the manifest's datatype (object for BYTES).

    BadInput `tensors_invalid` names the tensor and the field; `value_range`, `value_missing`.
    """
    truths = given.datatype == "BOOL" and wanted.datatype.startswith("INT")
    if truths or (given.datatype, wanted.datatype) in CONVERTED:
        as_given = msgspec.structs.replace(wanted, datatype=given.datatype)
        return _converted(given, read_tensor(given, as_given, binary, acceptance), DATATYPES[wanted.datatype])
    if given.datatype != wanted.datatype:
        whole = ": whole numbers, or true and false" if wanted.datatype.startswith("INT") else ""
        raise _wrong(given, "datatype", f"{given.datatype[:20]!r}, the model takes {wanted.datatype}{whole}")
    count = _check_shape(given, wanted)
    if binary is None:
        array = _from_json(given, count, acceptance)
    else:
        array = _from_binary(given, count, binary)
        acceptance.check_values(given.name, array.reshape(given.shape))
    return array.reshape(given.shape)


def _converted(given: GivenTensor, array: Array, dtype: Any) -> Array:
    """Returns the array in another type. BadInput `value_range` if a number is too large for it."""
    if np.can_cast(array.dtype, dtype):
        return array.astype(dtype)
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    if bool((np.isinf(found) & np.isfinite(array)).any()):
        raise BadInput(Code.VALUE_RANGE, f"input {given.name[:64]!r}: a number is too large for {found.dtype}")
    return found


def as_json(tensor: Tensor, array: Array) -> dict[str, Any]:
    """Returns an output tensor for JSON, with its data as a flat list, from an array of any shape."""
    data = array.tolist() if array.ndim == 1 else array.ravel().tolist()
    return {"name": tensor.name, "shape": array.shape, "datatype": tensor.datatype, "data": data}


def as_binary(tensor: Tensor, array: Array) -> tuple[dict[str, Any], bytes]:
    """Returns an output tensor for JSON and its data as little-endian bytes, from an array of any shape."""
    raw = _text_bytes(array) if tensor.datatype == "BYTES" else _little_endian(array)
    parameters = {"binary_data_size": len(raw)}
    shape = list(array.shape)
    return {"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "parameters": parameters}, raw


def _check_shape(given: GivenTensor, wanted: Tensor) -> int:
    """Returns the number of elements; BadInput if the model does not accept the shape."""
    if not takes_shape(wanted, given.shape):
        raise _wrong(given, "shape", f"{given.shape[:8]}, the model takes {list(wanted.shape)}")
    count = math.prod(given.shape)
    if count > MAX_ELEMENTS:
        raise _wrong(given, "shape", f"{count} elements, limit {MAX_ELEMENTS}")
    return count


def _from_json(given: GivenTensor, count: int, acceptance: Acceptance) -> Array:
    array, strange = (given.numbers, False) if isinstance(given, ReadTensor) else _parsed(given, count, acceptance)
    if array.size != count:
        raise _wrong(given, "data", f"{array.size} elements for shape {given.shape[:8]}")
    if strange:
        acceptance.check_values(given.name, array.reshape(given.shape))
    return array


def _parsed(given: GivenTensor, count: int, acceptance: Acceptance) -> tuple[Array, bool]:
    """Returns the data as an array, and whether it held more than plain values. BadInput."""
    if not given.data:
        raise _wrong(given, "data", "is missing")
    depth = _depth(bytes(memoryview(given.data)[:64]), len(given.shape))
    dtype: Any = object if given.datatype == "BYTES" else DATATYPES[given.datatype]
    try:
        if depth == 1 and dtype is not object and len(memoryview(given.data)) > SLICE_BYTES:
            return _in_slices(given, bytes(given.data), dtype, acceptance.column_names(given.name))
        return _held(given, decoder_of(given.datatype, depth)(given.data), dtype, count), False
    except msgspec.ValidationError as error:
        stand_ins, columns = acceptance.stand_ins(given.name), acceptance.column_names(given.name)
        words = str(error)[:200]
        return _read_cells(given, given.data, dtype, words, stand_ins=stand_ins, columns=columns), True
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise _wrong(given, "data", str(error)[:200]) from None


def _in_slices(given: GivenTensor, data: bytes, dtype: Any, columns: Sequence[str]) -> tuple[Array, bool]:
    """Reads a long flat list piece by piece, cut at commas, so that other threads can run between two pieces.

    Returns also whether a piece held more than plain values.
    """
    inner, at, arrays, strange = data.strip()[1:-1], 0, list[Array](), False
    decode = decoder_of(given.datatype, 1)
    while at <= len(inner):
        cut = inner.find(b",", at + SLICE_BYTES)
        end = len(inner) if cut < 0 else cut
        piece = b"[" + inner[at:end] + b"]"
        try:
            cells = decode(piece)
            array = _held(given, cells, dtype, len(cells))
        except msgspec.ValidationError as error:
            before = sum(each.size for each in arrays)
            words = str(error)[:200]
            array = _read_cells(given, piece, dtype, words, stand_ins=(), columns=columns, before=before)
            strange = True
        if not array.size and (arrays or cut >= 0):
            raise ValueError("a comma without a number")
        arrays.append(array)
        at = end + 1
    return np.concatenate(arrays), strange


def _held(given: GivenTensor, cells: Any, dtype: Any, count: int) -> Array:
    """Returns parsed cells, nested or one alone, as an array of the datatype. BadInput `value_range`."""
    if given.datatype not in _NARROW:
        return np.array(cells, dtype=dtype)
    return _narrowed(given, cells if isinstance(cells, list) else [cells], count)


def _narrowed(given: GivenTensor, cells: list[Any], count: int) -> Array:
    """Returns numbers as FP16 or FP32; BadInput `value_range` for numbers that do not fit.

    Packing refuses such numbers by itself, and takes a few cells faster than numpy does.
    """
    row = cells[0] if len(cells) == 1 and isinstance(cells[0], list) else cells
    code, dtype = _NARROW[given.datatype]
    try:
        if count == len(row) <= MAX_PACKED:
            return np.frombuffer(packer_of(count, code)(*row), dtype)
        wide = np.array(cells, dtype=np.float64)
        with np.errstate(over="ignore"):
            narrow = wide.astype(dtype)
        if np.isfinite(narrow).all():
            return narrow
    except struct.error:  # the list is nested more deeply than its first element shows
        return _narrowed(given, [np.array(cells, dtype=np.float64).ravel().tolist()], count)
    except OverflowError:
        pass
    raise BadInput(Code.VALUE_RANGE, f"input {given.name[:64]!r}: a number is too large for {given.datatype}")


@lru_cache(maxsize=64)
def packer_of(count: int, code: str) -> Callable[..., bytes]:
    """Returns a function that packs so many numbers, by the name of their type in `struct`; it raises struct.error or
    OverflowError for a number that does not fit.
    """
    return struct.Struct(f"={count}{code}").pack


def _read_cells(
    given: GivenTensor,
    data: msgspec.Raw | bytes,
    dtype: Any,
    words: str,
    *,
    stand_ins: Sequence[str | None],
    columns: Sequence[str],
    before: int = 0,
) -> Array:
    """Reads data cell by cell as a sensor's row is read: null is a missing value, 3.0 a whole number, true is 1.

    BadInput names the column of a cell. `words`: what is wrong with data that is no list of cells. `before`: the cells
    of the input that stand before these.
    """
    try:
        cells = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        raise _wrong(given, "data", words) from None
    while isinstance(cells, list) and cells and isinstance(cells[0], list):
        if {len(row) if isinstance(row, list) else -1 for row in cells} != {len(cells[0])}:
            raise _wrong(given, "data", words)
        cells = [cell for row in cells for cell in row]
    if not isinstance(cells, list):
        if given.shape:
            raise _wrong(given, "data", words)
        cells = [cells]
    reads = [reader_of(column[:64], given.datatype) for column in columns]
    found = []
    for at, cell in enumerate(cells, before):
        if cell is None:
            found.append(_stand_in(given, stand_ins[at % len(stand_ins)] if stand_ins else None, columns, at))
        elif isinstance(cell, str) is not (given.datatype == "BYTES"):
            kinds = ("text", "a number") if isinstance(cell, str) else (f"a {type(cell).__name__}", "text")
            where = _place(given, columns, at)
            raise BadInput(
                Code.TENSORS_INVALID, f"input {given.name[:64]!r}{where}: {kinds[0]} where {kinds[1]} belongs"
            )
        else:
            found.append(reads[at % len(reads)](cell))
    return np.array(found, dtype=dtype)


def _place(given: GivenTensor, columns: Sequence[str], at: int) -> str:
    """Returns in words where a cell stands: its column unless the input is one, and its row where there are several.

    Rows count from 0. Without columns the cell is an element of the flat data.
    """
    width = math.prod(given.shape[1:])
    if width != len(columns):
        return f", element {at}"
    column = f", column {columns[at % width][:64]!r}" if width > 1 else ""
    return f"{column}, row {at // width}" if given.shape and given.shape[0] > 1 else column


def _stand_in(given: GivenTensor, text: str | None, columns: Sequence[str], at: int) -> float | str:
    if given.datatype.startswith("FP"):
        return float("nan")  # `acceptance` says whether the model accepts it
    if given.datatype == "BYTES" and text is not None:
        return text
    where = _place(given, columns, at)
    raise BadInput(Code.VALUE_MISSING, f"input {given.name[:64]!r}{where}: null, and the model requires every value")


@lru_cache(maxsize=64)
def decoder_of(datatype: str, depth: int) -> Callable[[msgspec.Raw | bytes], Any]:
    """Returns a function that parses JSON lists of a datatype's values, nested `depth` levels deep."""
    kind: Any = _CELL.get(datatype, int)
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind).decode


def _depth(start: bytes, most: int) -> int:
    """Returns how deeply the lists are nested: flat data and data in the tensor's shape are both allowed."""
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
