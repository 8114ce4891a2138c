"""The scan of an ONNX file: walks its protobuf wire format, before anything parses it, and refuses what it may not
hold.

Decides by structure alone, and allocates no memory in proportion to the file. Fields must be on an allow-list, each
written in the one form that correct writers use. External data, foreign operators, and too deep or too many parts are
refused. Models that use too much CPU or memory cannot be detected here: the limits of the process that loads the model
stop these.
"""

from dataclasses import dataclass, field

from contract.errors import BadInput, Code
from contract.onnx_fields import BYTES, FORBIDDEN, TAGS, VARINT, WIDTHS, Field, Tagged

MAX_NODES = 50_000
MAX_TENSORS = 20_000
MAX_NESTING = 8
"""The depth of graphs within graphs; types may add as many levels again."""
MAX_DIMS = 8
MAX_ELEMENTS = 1 << 31
MAX_OPSETS = 16
MAX_DATA_TYPE = 28
MAX_ATTRIBUTE_TYPE = 14
DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})

_TAG_BYTES = 2
"""Bytes of the longest tag: all field numbers here are below 2048."""
_MAX_VARINT_BYTES = 10
_MAX_NOTED_BYTES = 80
Noted = dict[int, list[int | bytes]]
"""Values of a message's fields that are checked, by field number."""


@dataclass
class Scan:
    """What a scan has counted and read."""

    raw: memoryview
    nodes: int = 0
    tensors: int = 0
    ir: int = 0
    """The version of the file's format; 0 where it says none."""
    opsets: dict[str, int] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    """Operators of all nodes, also in graphs within graphs."""


def scan_onnx(raw: bytes | memoryview) -> Scan:
    """Scans the file. BadInput `model_refused` says which forbidden content it holds."""
    scan = Scan(memoryview(raw))
    held = _message(scan, "model", 0, len(scan.raw), 0).seen.values()
    graphs = int("graph" in held)
    if not graphs or not scan.opsets:
        raise _refused(f"{graphs} graphs and {len(scan.opsets)} operator sets: this is no ONNX model")
    return scan


@dataclass(slots=True)
class _Open:
    """A message that is being scanned."""

    name: str
    end: int
    depth: int
    noted: Noted = field(default_factory=dict)
    seen: dict[int, str] = field(default_factory=dict)
    """The content of its fields that may occur once, by field number."""


def _message(scan: Scan, name: str, at: int, end: int, depth: int) -> _Open:
    """Scans one message to its end."""
    message = _Open(name, end, _enter(scan, name, depth))
    tags = TAGS[name]
    while at < end:
        tag, at = _varint(scan.raw, at, end, _TAG_BYTES)
        tagged = tags.get(tag)
        if tagged is None:
            raise _refused(_words(name, tag, at))
        known = tagged.field
        if not known.repeated:
            if known.number in message.seen:
                raise _refused(f"field {known.number} of a {name} twice")
            message.seen[known.number] = known.holds
        at = _value(scan, message, tag & 7, tagged, at)
    _judge(scan, name, message.noted)
    return message


def _value(scan: Scan, message: _Open, wire: int, tagged: Tagged, at: int) -> int:
    """Scans one value. Returns the place where the next field begins."""
    known, end = tagged.field, message.end
    if wire == VARINT:
        value, at = _varint(scan.raw, at, end, _MAX_VARINT_BYTES)
        if known.noted:
            _note(message.noted, known, value)
    elif wire == BYTES:
        length, at = _varint(scan.raw, at, end, _MAX_VARINT_BYTES)
        stop = _within(at + length, at, end)
        _content(scan, message, tagged, at, stop)
        at = stop
    else:
        at = _within(at + WIDTHS[wire], at, end)
    if tagged.run is not None and (run := tagged.run.match(scan.raw, at, end)):
        at = run.end()
    return at


def _content(scan: Scan, message: _Open, tagged: Tagged, at: int, stop: int) -> None:
    """Scans the content of a field with a length."""
    known = tagged.field
    if tagged.packed is not None:
        if not tagged.packed.fullmatch(scan.raw, at, stop):
            raise _refused(f"broken numbers at byte {at}: this is no protobuf")
        while known.noted and at < stop:
            value, at = _varint(scan.raw, at, stop, _MAX_VARINT_BYTES)
            _note(message.noted, known, value)
    elif known.holds in TAGS:
        _message(scan, known.holds, at, stop, message.depth)
    elif known.noted:
        _note(message.noted, known, bytes(scan.raw[at : min(stop, at + _MAX_NOTED_BYTES)]))


def _note(noted: Noted, known: Field, value: int | bytes) -> None:
    values = noted.setdefault(known.number, [])
    values.append(value)
    if len(values) > MAX_DIMS:
        raise _refused("a tensor of impossible shape")


def _enter(scan: Scan, name: str, depth: int) -> int:
    """Counts the message. Returns the depth of nesting of its content."""
    if name == "node":
        scan.nodes += 1
        if scan.nodes > MAX_NODES:
            raise _refused(f"more than {MAX_NODES} nodes")
    elif name == "tensor":
        scan.tensors += 1
        if scan.tensors > MAX_TENSORS:
            raise _refused(f"more than {MAX_TENSORS} tensors")
    elif name in ("graph", "type"):
        depth += 1
        if depth > (MAX_NESTING if name == "graph" else 2 * MAX_NESTING):
            raise _refused(f"graphs or types nested deeper than {MAX_NESTING}")
    return depth


def _judge(scan: Scan, name: str, noted: Noted) -> None:
    """Checks the noted values of a message that was scanned to its end."""
    if name == "node":
        _check_domain(noted.get(7, [b""])[0])
        operator = noted.get(4, [b""])[0]
        assert isinstance(operator, bytes)
        scan.operators.add(operator.decode(errors="replace"))
    elif name == "model":
        scan.ir = int(noted.get(1, [0])[0])
    elif name == "attribute" and noted:
        _check_type(noted[20][0], MAX_ATTRIBUTE_TYPE)
    elif name == "tensor":
        _check_tensor(noted)
    elif name == "operator set":
        domain = noted.get(1, [b""])[0]
        _check_domain(domain)
        assert isinstance(domain, bytes)
        scan.opsets[domain.decode()] = int(noted.get(2, [0])[0])
        if len(scan.opsets) > MAX_OPSETS:
            raise _refused(f"more than {MAX_OPSETS} operator sets")


def _check_tensor(noted: Noted) -> None:
    elements = 1
    for size in noted.get(1, ()):
        elements *= int(size)
        if int(size) >> 63 or elements > MAX_ELEMENTS:
            raise _refused("a tensor of impossible shape")
    _check_type(noted.get(2, [0])[0], MAX_DATA_TYPE)
    if noted.get(14, [0])[0] != 0:
        raise _refused("external data")


def _check_type(code: int | bytes, most: int) -> None:
    if int(code) > most:
        raise _refused(f"a type with the unknown number {int(code)}")


def _check_domain(domain: int | bytes) -> None:
    if domain not in DOMAINS:
        raise _refused(f"operators of the domain {domain!r:.50}")


def _words(name: str, tag: int, at: int) -> str:
    number, wire = tag >> 3, tag & 7
    if wire in (3, 4, 6, 7):
        return f"wire type {wire} at byte {at}: this is no protobuf"
    return FORBIDDEN.get((name, number), f"field {number} of wire type {wire} in a {name} at byte {at}")


def _within(stop: int, at: int, end: int) -> int:
    if stop > end:
        raise _refused(f"a field at byte {at} that is longer than what holds it")
    return stop


def _varint(raw: memoryview, at: int, end: int, most: int) -> tuple[int, int]:
    """Returns (number, the place after it).

    Refuses a number that is cut off, longer than necessary, or wider than 64 bits.
    """
    value = shift = 0
    for place in range(at, min(end, at + most)):
        byte = raw[place]
        value |= (byte & 127) << shift
        if byte < 128:
            if (byte == 0 and shift) or value >> 64:
                break
            return value, place + 1
        shift += 7
    raise _refused(f"a broken number at byte {at}: this is no protobuf")


def _refused(what: str) -> BadInput:
    return BadInput(Code.MODEL_REFUSED, what)
