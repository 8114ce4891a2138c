"""Long lists of numbers in a request's JSON, cut out of the text and parsed piece by piece, with no parse before it.

Decides which lists are read so: a long `data` of plain numbers, flat or with one list for each row. Whatever is unusual
is left to the parser of the whole request, which gives the same arrays. Refuses to know what a model accepts.
"""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array
from agent.serving.tensors import GivenTensor, ReadTensor, decoder_of, packer_of
from contract.manifest import DATATYPES

LONG_BYTES = 8 * 1024
"""A shorter request is parsed as a whole: there is little to win."""
PIECE_BYTES = 32 * 1024
"""Bytes that are parsed at once, while the interpreter's lock is held: 0.1 ms. The numbers of one piece stay in the
cache of the processor: pieces of 1 MB took up to twice as long."""

_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_SPACE = b" \t\r\n"
_OPENING = ord("[")
_PLACE = b'{"":0}'
"""Stands where a list was cut out. No tensor's data is an object, so it means nothing else there."""
_CODES = {
    "FP16": "e", "FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
"""The names by which `struct` knows the datatypes. Packing refuses a number that does not fit."""
_spare: list[Any] = []
"""Parsers of simdjson that no thread uses: each keeps 0.4 MB, which would take as long to allocate as to parse into."""
Span = tuple[int, int]
"""Where a list begins and ends in the text, with its brackets."""


def cut(raw: bytes) -> tuple[bytes, list[Span]] | None:
    """Returns a request's JSON with `_PLACE` for each long list, and where those lists are; None without any."""
    rest: list[bytes] = []
    spans: list[Span] = []
    kept_from = at = 0
    while (found := _DATA.search(raw, at)) is not None:
        begin = found.end()
        at = _end(raw, begin)
        if at <= begin:
            return None
        if at - begin >= LONG_BYTES:
            rest.append(raw[kept_from:begin])
            spans.append((begin, at))
            kept_from = at
    rest.append(raw[kept_from:])
    if not spans or any(_PLACE in part for part in rest):
        return None
    return _PLACE.join(rest), spans


def filled(inputs: list[GivenTensor], raw: bytes, spans: list[Span]) -> list[GivenTensor] | None:
    """Returns the inputs with what was cut out of them, read; None unless each list belongs to one input and is read.

    A list whose key came twice, or that is no input's data, belongs to none.
    """
    places = [at for at, given in enumerate(inputs) if bytes(given.data) == _PLACE]
    if len(places) != len(spans):
        return None
    whole = list(inputs)
    for at, span in zip(places, spans, strict=True):
        given = whole[at]
        numbers = _numbers(given, raw, span)
        if numbers is None:
            return None
        whole[at] = ReadTensor(given.name, given.shape, given.datatype, given.parameters, given.data, numbers)
    return whole


def _end(raw: bytes, begin: int) -> int:
    """Returns where a list ends, if it holds numbers and lists of them only: before the next key or object's end."""
    brace, quote = raw.find(b"}", begin), raw.find(b'"', begin)
    return raw.rfind(b"]", begin, brace if quote < 0 else min(brace, quote)) + 1


def _is_nested(raw: bytes, begin: int) -> bool:
    return raw[begin + 1 : begin + 65].lstrip(_SPACE)[:1] == b"["


def _numbers(given: GivenTensor, raw: bytes, span: Span) -> Array | None:
    """Returns a list of plain numbers as a flat array of the input's datatype; None for anything else."""
    depth = 2 if _is_nested(raw, span[0]) else 1
    if given.datatype not in _CODES or depth > len(given.shape):
        return None
    fast = _simdjson() if given.datatype in ("FP32", "FP64") else None
    try:
        if fast is None:
            return _packed(given.datatype, raw, span, depth)
        return _parsed(given.datatype, raw, span, depth, fast)
    except (msgspec.MsgspecError, struct.error, OverflowError, RuntimeError, TypeError, ValueError):
        return None


def _pieces(raw: bytes, span: Span, depth: int) -> Iterator[bytes]:
    """Yields a list as several shorter ones, cut behind a number or a row. ValueError where no comma follows it."""
    at, until, view = span[0] + 1, span[1] - 1, memoryview(raw)
    while True:
        cut_at = raw.find(b"," if depth == 1 else b"]", at + PIECE_BYTES, until)
        end = until if cut_at < 0 else cut_at + depth - 1  # behind a row's bracket
        yield b"".join((b"[", view[at:end], b"]"))
        if end == until:
            return
        comma = raw.find(b",", end, until)
        if raw[end : comma if comma >= 0 else until].strip(_SPACE):
            raise ValueError("no comma between two rows")
        if comma < 0:
            return
        at = comma + 1


def _packed(datatype: str, raw: bytes, span: Span, depth: int) -> Array:
    """Returns the numbers of a list, flat, by msgspec. ValueError for an empty piece or rows of several lengths."""
    widths: set[int] = set()
    parts = []
    for piece in _pieces(raw, span, depth):
        cells = decoder_of(datatype, depth)(piece)
        if depth == 2:
            widths.update(map(len, cells))
            cells = list(chain.from_iterable(cells))
        if not cells:
            raise ValueError("a comma without a number")
        parts.append(packer_of(len(cells), _CODES[datatype])(*cells))
    _refuse_uneven(widths)
    return np.frombuffer(b"".join(parts), DATATYPES[datatype])


def _parsed(datatype: str, raw: bytes, span: Span, depth: int, fast: Any) -> Array:
    """Does the same as `_packed` with simdjson, which makes no object for each number: half the time."""
    widths: list[int] = []
    parser = _spare.pop() if _spare else fast.Parser()
    try:
        with np.errstate(over="ignore"):  # looked for below
            parts = [_narrow(parser.parse(piece), datatype, depth, widths) for piece in _pieces(raw, span, depth)]
    finally:
        _spare.append(parser)
    _refuse_uneven(set(widths))
    if _count_lists(raw, span, depth) != 1 + len(widths):
        raise ValueError("nested more deeply: simdjson reads all as one list")
    numbers: Array = np.concatenate(parts)
    if not np.isfinite(numbers).all():
        raise OverflowError(f"too large for {datatype}")
    return numbers


def _narrow(cells: Any, datatype: str, depth: int, widths: list[int]) -> Array:
    """Returns simdjson's numbers, flat, as floats of the datatype; adds the lengths of their rows to `widths`."""
    if depth == 2:
        widths.extend(map(len, cells))
    wide = np.frombuffer(cells.as_buffer(of_type="d"), np.float64)
    if not wide.size:
        raise ValueError("a comma without a number")
    return wide.astype(DATATYPES[datatype])


def _refuse_uneven(widths: set[int]) -> None:
    if len(widths) > 1:
        raise ValueError("rows of several lengths")


def _count_lists(raw: bytes, span: Span, depth: int) -> int:
    """Returns how many lists begin in a list, itself included. At depth 1 a second one is enough: it is looked for, not
    counted, in a thirtieth of the time that `bytes.count` takes.
    """
    if depth == 1:
        return 1 if raw.find(b"[", span[0] + 1, span[1]) < 0 else 2
    return int(np.count_nonzero(np.frombuffer(raw, np.uint8, span[1] - span[0], span[0]) == _OPENING))


@lru_cache(maxsize=1)
def _simdjson() -> Any:
    """Returns the module of the extra `fast-json`; None where it is not installed."""
    try:
        import simdjson
    except ImportError:
        return None
    return simdjson
