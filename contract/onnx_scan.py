"""What an ONNX file may hold, found by walking its protobuf wire format before anything parses it.

Decides by structure alone and allocates nothing of the file's size: no external data, no foreign operators, no local
functions, no training or sparse parts, bounded nesting and counts. CPU and memory bombs cannot be seen here: limits of
the process that loads the model stop those. Field numbers: onnx/onnx.proto, IR version 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from contract.errors import BadInput, Code

MAX_NODES = 50_000
MAX_TENSORS = 20_000
MAX_NESTING = 8
MAX_DIMS = 8
MAX_ELEMENTS = 1 << 31
MAX_OPSETS = 16
DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
Field = tuple[int, int, int, int]
"""(number, wire type, value or start, end)"""


@dataclass
class Scan:
    """What was counted on the way."""

    raw: memoryview
    nodes: int = 0
    tensors: int = 0
    opsets: dict[str, int] = field(default_factory=dict)


def scan_onnx(raw: bytes | memoryview) -> Scan:
    """Walk the file; BadInput `model_refused` says what it may not hold."""
    scan = Scan(memoryview(raw))
    graphs = 0
    for number, wire, start, end in _fields(scan.raw, 0, len(scan.raw)):
        if number == 7 and wire == _BYTES:
            graphs += 1
            _graph(scan, start, end, 1)
        elif number == 8 and wire == _BYTES:
            _opset(scan, start, end)
        elif number in (20, 25):
            raise _refused("training information" if number == 20 else "local functions")
    if graphs != 1 or not scan.opsets:
        raise _refused(f"{graphs} graphs and {len(scan.opsets)} operator sets: this is no ONNX model")
    return scan


def _opset(scan: Scan, start: int, end: int) -> None:
    domain, version = b"", 0
    for number, wire, value, stop in _fields(scan.raw, start, end):
        if number == 1 and wire == _BYTES:
            domain = bytes(scan.raw[value : min(stop, value + 80)])
        elif number == 2 and wire == _VARINT:
            version = value
    _check_domain(domain)
    scan.opsets[domain.decode()] = version
    if len(scan.opsets) > MAX_OPSETS:
        raise _refused(f"more than {MAX_OPSETS} operator sets")


def _graph(scan: Scan, start: int, end: int, depth: int) -> None:
    if depth > MAX_NESTING:
        raise _refused(f"graphs nested deeper than {MAX_NESTING}")
    for number, wire, value, stop in _fields(scan.raw, start, end):
        if wire != _BYTES:
            continue
        if number == 1:
            _node(scan, value, stop, depth)
        elif number == 5:
            _tensor(scan, value, stop)
        elif number == 15:
            raise _refused("a sparse initializer")


def _node(scan: Scan, start: int, end: int, depth: int) -> None:
    scan.nodes += 1
    if scan.nodes > MAX_NODES:
        raise _refused(f"more than {MAX_NODES} nodes")
    for number, wire, value, stop in _fields(scan.raw, start, end):
        if wire != _BYTES:
            continue
        if number == 7:
            _check_domain(bytes(scan.raw[value : min(stop, value + 80)]))
        elif number == 5:
            _attribute(scan, value, stop, depth)


def _attribute(scan: Scan, start: int, end: int, depth: int) -> None:
    for number, wire, value, stop in _fields(scan.raw, start, end):
        if wire != _BYTES:
            continue
        if number in (6, 11):
            _graph(scan, value, stop, depth + 1)
        elif number in (5, 10):
            _tensor(scan, value, stop)
        elif number in (22, 23):
            raise _refused("a sparse attribute")


def _tensor(scan: Scan, start: int, end: int) -> None:
    scan.tensors += 1
    if scan.tensors > MAX_TENSORS:
        raise _refused(f"more than {MAX_TENSORS} tensors")
    elements, dims = 1, 0
    for number, wire, value, stop in _fields(scan.raw, start, end):
        if number == 1:
            for size in _dims(scan.raw, wire, value, stop):
                dims, elements = dims + 1, elements * size
                if size >> 63 or dims > MAX_DIMS or elements > MAX_ELEMENTS:
                    raise _refused("a tensor of impossible shape")
        elif number == 13 or (number == 14 and (wire != _VARINT or value != 0)):
            raise _refused("external data")


def _dims(raw: memoryview, wire: int, value: int, stop: int) -> Iterator[int]:
    if wire == _VARINT:
        yield value
    elif wire == _BYTES:
        while value < stop:
            size, value = _varint(raw, value, stop)
            yield size


def _check_domain(domain: bytes) -> None:
    if domain not in DOMAINS:
        raise _refused(f"operators of the domain {domain[:40]!r}")


def _fields(raw: memoryview, at: int, end: int) -> Iterator[Field]:
    while at < end:
        key, at = _varint(raw, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(raw, at, end)
            yield number, wire, value, 0
            continue
        if wire == _BYTES:
            length, at = _varint(raw, at, end)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise _refused(f"wire type {wire} at byte {at}: this is no protobuf")
        if at + length > end:
            raise _refused(f"a field at byte {at} that is longer than what holds it")
        yield number, wire, at, at + length
        at += length


def _varint(raw: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift <= 63:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _refused(f"a broken number at byte {at}: this is no protobuf")


def _refused(what: str) -> BadInput:
    return BadInput(Code.MODEL_REFUSED, what)
