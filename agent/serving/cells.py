"""Converts one cell of a row to a value of an input's type: decides what is missing, what is a number, and what fits.

The text of a refusal names the column and never the cell: it is sent to the controller, and the content of a row
must not be sent. Refuses to know who asks.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.manifest import DATATYPES

Read = Callable[[Any], Any]
"""Converts a cell that is not missing. BadInput `sample_invalid`, `value_range`."""
_WORDS = {"true": 1, "false": 0}


def is_missing(cell: Any) -> bool:
    """Whether a cell of a column of numbers or truths has no value: None, a blank text, NaN in any spelling."""
    if isinstance(cell, str):
        return cell.strip().lower() in ("", "nan")
    return lacks_text(cell)


def lacks_text(cell: Any) -> bool:
    """Whether a cell of a column of text has no value: None or NaN. An empty text is a text."""
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def reader_of(column: str, datatype: str) -> Read:
    """Returns the function that converts a cell that is not missing, for an input of `datatype`."""
    if datatype == "BYTES":
        return lambda cell: _text(column, cell)
    if datatype == "BOOL":
        return lambda cell: _truth(column, cell)
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return lambda cell: _real(column, datatype, cell, largest)
    bounds = np.iinfo(dtype)
    return lambda cell: _whole(column, datatype, cell, (int(bounds.min), int(bounds.max)))


def _real(column: str, datatype: str, cell: Any, largest: float) -> float:
    number = float(_number(column, cell))
    if math.isinf(number):
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: infinity is no measurement")
    if abs(number) > largest:
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: too large for {datatype}")
    return number


def _whole(column: str, datatype: str, cell: Any, bounds: tuple[int, int]) -> int:
    number = _number(column, cell)
    if isinstance(number, float) and not number.is_integer():
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: not a whole number, and the model takes {datatype}")
    if not bounds[0] <= int(number) <= bounds[1]:
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: does not fit {datatype}")
    return int(number)


def _text(column: str, cell: Any) -> str:
    """Returns a cell as text that every runtime takes: bytes must be UTF-8, and half of a character is refused."""
    try:
        if isinstance(cell, bytes):
            return cell.decode()
        text = str(cell)
        if not text.isascii():
            text.encode()
    except UnicodeError as error:
        raise BadInput(Code.SAMPLE_INVALID, f"column {column!r}: no UTF-8: {error.reason}") from None  # type: ignore[attr-defined]
    return text


def _truth(column: str, cell: Any) -> bool:
    number = _number(column, cell)
    if number not in (0, 1):
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: neither true nor false")
    return bool(number)


def _number(column: str, cell: Any) -> int | float:
    """Returns the number in a cell; true and false are 1 and 0, also as text."""
    plain = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(plain, bool | int | float):
        return _bounded(column, plain)
    if isinstance(plain, Decimal):
        return float(plain)
    if isinstance(plain, str):
        return _number_in(column, plain.strip())
    raise BadInput(Code.SAMPLE_INVALID, f"column {column!r}: a {type(plain).__name__} where a number belongs")


def _bounded(column: str, number: int | float) -> int | float:
    try:
        float(number)
    except OverflowError:
        raise BadInput(Code.VALUE_RANGE, f"column {column!r}: too large for any number") from None
    return int(number) if isinstance(number, bool) else number


def _number_in(column: str, text: str) -> int | float:
    if (word := _WORDS.get(text.lower())) is not None:
        return word
    for kind in (int, float):
        try:
            return _bounded(column, kind(text))
        except ValueError:
            continue
    raise BadInput(Code.SAMPLE_INVALID, f"column {column!r}: text of {len(text)} characters that is no number")
