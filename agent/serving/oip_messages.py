"""Requests and responses of the Open Inference Protocol over HTTP, and their JSON.

Decides which fields a request may hold, and refuses those that ask for what is not served. Refuses to know models.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from agent.ports import Stop
from agent.serving.long_lists import LONG_BYTES, cut, filled
from agent.serving.tensors import GivenTensor

JSON_TYPE, BYTES_TYPE = "application/json", "application/octet-stream"
MAX_ID_CHARS = 256
_TYPES = (BYTES_TYPE, "application/x-www-form-urlencoded", "text/plain", "")
"""Accepted types besides those with `json` in their name: what `curl -d` and `fetch` send by default."""
_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"|-?NaN\b')
"""Finds strings, and Python's `NaN` for a missing number, which JSON does not have."""

_INFINITE = re.compile(rb'"(?:[^"\\]|\\.)*"|([-+]?\bInfinity\b)')
"""Finds strings, and as its group Python's and JavaScript's name for a number that JSON does not have."""
_NO_INFINITY = "is not a number that JSON or this model takes; send null for a missing number"


class Request(msgspec.Struct, gc=False):
    """A request over HTTP."""

    method: str
    path: str
    body: bytes = b""
    json_length: int | None = None
    """Value of `Inference-Header-Content-Length`: how much of the body is JSON, when raw tensors follow it."""
    content_type: bytes = b""
    content_encoding: bytes = b""
    """The coding of the body. It is decompressed before the endpoint gets it."""
    accept_encoding: bytes = b""
    origin: bytes = b""
    """The origin of the page that sent the request, if it is allowed; empty outside browsers."""
    keep_alive: bool = True
    plain: bool = True
    """Whether a response needs only the headers that every response has."""
    received_ns: int = 0
    """When the request was complete, on the clock of the statistics."""
    stop: Stop | None = None
    """Ends the inference when no caller waits for it any more; None for one that is too short for that."""


class Response(msgspec.Struct, gc=False):
    """A response over HTTP."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    json_length: int | None = None
    headers: tuple[str, ...] = ()
    """Further header lines."""
    answer_id: str = ""
    """The id of an inference's answer, for a label that comes later: the header `Edgeward-Answer-Id`."""


class Refused(Exception):
    """A refusal with a status of HTTP and a text."""

    def __init__(self, status: int, words: str, headers: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.status = status
        self.headers = headers


class OutputParameters(msgspec.Struct):
    """Parameters of an output that is asked for. Unknown ones are ignored, as the protocol requires."""

    binary_data: bool | None = None
    classification: int | None = None
    shared_memory_region: str | None = None


class WantedOutput(msgspec.Struct):
    """A requested output."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct):
    """Parameters of a request."""

    binary_data_output: bool = False
    routing_key: str = ""
    """Requests of one key go to one version while a trial has a share; without a key the id or the body is the key.
    A model with state keeps it by this key, or by `sequence_id`; without either a request belongs to no stream."""
    sequence_id: int | str = 0
    sequence_start: bool = False
    """The stream starts again with this request."""
    sequence_end: bool = False
    """The stream ends with this request."""
    timeout: int = 0
    """Microseconds, as in Triton, after which the caller does not wait for the answer; 0 for none."""


class InferRequest(msgspec.Struct):
    """The JSON of an inference."""

    inputs: list[GivenTensor]
    id: str | None = None
    parameters: RequestParameters | None = None
    outputs: list[WantedOutput] | None = None


_decode_infer = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.encode
_NO_TAIL = memoryview(b"")


def read_infer(request: Request) -> tuple[InferRequest, memoryview]:
    """Returns the JSON of an inference, and the raw tensors that follow it. `Refused` 400, 415 or 501."""
    body, length = request.body, request.json_length
    if request.content_type and not takes_type(request.content_type):
        raise Refused(415, f"content-type {_text(request.content_type)}: send {JSON_TYPE} or {BYTES_TYPE}")
    if length is not None and not 0 <= length <= len(body):
        raise Refused(400, f"Inference-Header-Content-Length says {length}, the body has {len(body)} bytes")
    asked = _decoded(body if length is None else memoryview(body)[:length])
    if asked.id is not None and len(asked.id) > MAX_ID_CHARS:
        raise Refused(400, f"id: {len(asked.id)} characters, limit {MAX_ID_CHARS}")
    return asked, _NO_TAIL if length is None else memoryview(body)[length:]


def _decoded(raw: bytes | memoryview) -> InferRequest:
    """Decodes JSON; `NaN`, which Python's json writes, is read as null."""
    try:
        if len(raw) >= LONG_BYTES and (asked := _with_long_lists(bytes(raw))) is not None:
            return asked
        return _decode_infer(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if b"NaN" in bytes(raw):
            return _strictly_decoded(_NOT_JSON.sub(_null_for_nan, raw))
        raise _unreadable(raw, error) from None


def _with_long_lists(raw: bytes) -> InferRequest | None:
    """Returns a request whose long lists of numbers are read already; None for one that is read as a whole."""
    parts = cut(raw)
    if parts is None:
        return None
    try:
        asked = _decode_infer(parts[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    inputs = filled(asked.inputs, raw, parts[1])
    return None if inputs is None else msgspec.structs.replace(asked, inputs=inputs)


def _strictly_decoded(raw: bytes) -> InferRequest:
    try:
        return _decode_infer(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(raw, error) from None


def _unreadable(raw: bytes | memoryview, error: Exception) -> Refused:
    """Returns why text is not the JSON of an inference. The parser's own words for `Infinity` are a wrong byte."""
    if isinstance(error, msgspec.DecodeError) and b"Infinity" in bytes(raw):
        found = next((each[1] for each in _INFINITE.finditer(raw) if each[1]), None)
        if found is not None:
            return Refused(400, f"request: {found.decode()} {_NO_INFINITY}")
    return Refused(400, f"request: {error}"[:500])


def _null_for_nan(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0][:1] == b'"' else b"null"


@lru_cache(maxsize=64)
def takes_type(content_type: bytes) -> bool:
    """Whether a body of this media type may be an inference. Cached: clients send the same few."""
    name = _text(content_type).partition(";")[0].strip().lower()
    return "json" in name or name in _TYPES


def _text(raw: bytes) -> str:
    return raw[:80].decode("latin-1")


def plain(value: Any, status: int = 200, headers: Sequence[str] = ()) -> Response:
    """Returns a response that is JSON."""
    return Response(status, _encode(value), headers=tuple(headers))


def refusal(status: int, words: str, headers: tuple[str, ...] = ()) -> Response:
    """Returns the protocol's error response."""
    return Response(status, _encode({"error": words}), headers=headers)
