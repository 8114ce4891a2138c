"""The Open Inference Protocol v2: a request in, a response out. Any KServe or Triton client works against it.

Decides routes, what a request must hold, and the protocol's own status words (the protocol is HTTP, so they are its
language). Refuses to know sockets, and changes no model: loading and unloading belong to the controller.
Source: https://github.com/kserve/open-inference-protocol, with Triton's binary tensor, statistics and repository
extensions (https://github.com/triton-inference-server/server/tree/main/docs/protocol).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from agent.ports import Array
from agent.serving.acceptance import acceptance_of
from agent.serving.metrics import exposition
from agent.serving.serving import Serving
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from agent.serving.tensors import GivenTensor, as_binary, as_json, read_tensor
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest, Tensor

SERVER = "edgeward-agent"
EXTENSIONS = ("binary_tensor_data", "statistics", "model_repository")
PLATFORM = "onnx_onnxv1"
JSON_TYPE, BYTES_TYPE = "application/json", "application/octet-stream"
MAX_ID_CHARS = 256


class Request(msgspec.Struct, gc=False):
    """A request over HTTP."""

    method: str
    path: str
    body: bytes = b""
    json_length: int | None = None
    """Value of `Inference-Header-Content-Length`: how much of the body is JSON, when raw tensors follow it."""


class Response(msgspec.Struct, gc=False):
    """A response over HTTP."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    json_length: int | None = None


class Refused(Exception):
    """A refusal in the protocol's words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int | None = None


class _WantedOutput(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _RequestParameters(msgspec.Struct):
    binary_data_output: bool = False
    routing_key: str = ""
    """Requests of one key go to one version while a trial has a share; without a key the id or the body is the key."""
    sequence_id: int | str = 0


class _InferRequest(msgspec.Struct):
    inputs: list[GivenTensor]
    id: str | None = None
    parameters: _RequestParameters | None = None
    outputs: list[_WantedOutput] | None = None


_decode_infer = msgspec.json.Decoder(_InferRequest).decode
_encode = msgspec.json.encode
_NO_TAIL = memoryview(b"")


class Endpoint:
    """Answers requests to all models of a device. `slots` is called for each request: models come and go."""

    def __init__(
        self,
        slots: Callable[[], Mapping[str, ModelSlot]],
        statistics: Statistics,
        *,
        version: str,
        counters: Callable[[], Mapping[str, int]] = dict,
        expiries: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._slots = slots
        self._statistics = statistics
        self._version = version
        self._counters = counters
        self._expiries = expiries

    def answer(self, request: Request) -> Response:
        """Returns the response to any request; never raises."""
        try:
            return self._route(request)
        except Refused as refused:
            return refusal(refused.status, str(refused))
        except BadInput as error:
            return refusal(400, error.detail)
        except WorldError as error:
            return refusal(503, error.detail)
        except Exception as error:  # the runtime's exceptions share no base class; the slot has counted it
            return refusal(500, f"{type(error).__name__}: {error}"[:500])

    def typical_s(self, path: str) -> float:
        """Returns the recent seconds of an inference of the model in `path`; 0 if unknown."""
        parts = _parts(path)
        slot = self._slots().get(parts[2]) if len(parts) > 2 else None
        serving = slot.serving if slot is not None else None
        return serving.typical_s if serving is not None else 0.0

    def _route(self, request: Request) -> Response:
        parts = _parts(request.path)
        if parts == ("metrics",) and request.method == "GET":
            text = exposition(self._statistics, self._serving(), self._counters(), self._expiries())
            return Response(200, text, "text/plain; version=0.0.4")
        if parts[0] != "v2":
            raise Refused(404, f"no such path: {request.path[:100]!r}; this server speaks the protocol below /v2")
        match request.method, parts[1:]:
            case "POST", ["models", name, "infer"]:
                return self._infer(self._ready(name), request)
            case "POST", ["models", name, "versions", version, "infer"]:
                return self._infer(self._ready(name, version), request, chosen=True)
            case "POST", ["repository", "index"]:
                return _plain([entry for name in sorted(self._slots()) for entry in self._indexed(name)])
            case "POST", ["repository", "models", _, "load" | "unload"]:
                raise Refused(403, "models come by signed rollouts from the controller: edgeward rollout start")
            case "GET", found:
                return self._look(found)
            case method, _:
                raise Refused(404, f"no {method} {request.path[:100]!r}")

    def _look(self, parts: tuple[str, ...]) -> Response:
        match parts:
            case [] | [""]:
                return _plain({"name": SERVER, "version": self._version, "extensions": EXTENSIONS})
            case ["health", "live"]:
                return _plain({"live": True})
            case ["health", "ready"]:
                unready = [name for name, slot in self._slots().items() if slot.serving is None]
                return _plain({"ready": not unready}, 200 if not unready else 503)
            case ["models"]:
                return _plain({"models": sorted(self._slots())})
            case ["models", "stats"]:
                return _plain({"model_stats": self._statistics.told()})
            case ["models", name, *rest]:
                return self._look_at(name, rest)
        raise Refused(404, f"no such path: /v2/{'/'.join(parts)[:100]}")

    def _look_at(self, name: str, rest: list[str]) -> Response:
        version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else None
        match rest[2:] if version is not None else rest:
            case []:
                return _plain(_metadata(self._ready(name, version)))
            case ["ready"]:
                slot = self._slot(name)
                versions = [serving.version for serving in slot.versions]
                ready = version in versions if version is not None else bool(versions)
                return _plain({"name": slot.model, "ready": ready}, 200 if ready else 503)
            case ["stats"]:
                self._slot(name)
                return _plain({"model_stats": self._statistics.told(name, version)})
            case ["config"]:
                raise Refused(501, "the model configuration extension is not served: a model's manifest is signed")
        raise Refused(404, f"no such path below model {name[:64]}")

    def _infer(self, found: tuple[ModelSlot, Serving], request: Request, *, chosen: bool = False) -> Response:
        slot, serving = found
        clock = self._statistics.begin()
        rows = 0
        try:
            asked, tail = _parsed(serving, request)
            if slot.split is not None and not chosen:
                serving = slot.answering(_key(asked, request)) or serving
            inputs = _accepted(serving, asked, tail)
            rows = _rows(inputs)
            clock.read()
            serving, outputs = slot.run_or_fall_back(serving, inputs)
            clock.ran()
            response = _respond(slot.model, serving, asked, outputs)
        except BaseException:
            self._statistics.failed(slot.model, serving.version, clock)
            raise
        self._statistics.succeeded(slot.model, serving.version, clock, rows)
        return response

    def _slot(self, name: str) -> ModelSlot:
        slot = self._slots().get(name)
        if slot is None:
            raise Refused(404, f"unknown model {name[:64]!r}; GET /v2/models lists them")
        return slot

    def _ready(self, name: str, version: str | None = None) -> tuple[ModelSlot, Serving]:
        slot = self._slot(name)
        versions = slot.versions
        if not versions:
            raise Refused(503, f"model {name} has no version yet")
        if version is None:
            return slot, versions[0]
        found = next((each for each in versions if each.version == version), None)
        if found is None:
            there = " and ".join(each.version for each in versions)
            raise Refused(404, f"version {version[:20]!r} of {name} does not serve; {there} does")
        return slot, found

    def _indexed(self, name: str) -> list[dict[str, str]]:
        found = [
            {"name": name, "version": serving.version, "state": "READY", "reason": ""}
            for serving in self._slots()[name].versions
        ]
        return found or [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": "no version yet"}]

    def _serving(self) -> dict[str, Serving]:
        slots = self._slots().items()
        return {name: serving for name, slot in slots if (serving := slot.serving) is not None}


@lru_cache(maxsize=64)
def _parts(path: str) -> tuple[str, ...]:
    """Splits a path without its query at the slashes. Cached: clients send the same few paths."""
    return tuple(path.partition("?")[0].strip("/").split("/"))


def _parsed(serving: Serving, request: Request) -> tuple[_InferRequest, memoryview]:
    """Reads a request. One that nobody could read counts as refused by the version that answers by default."""
    try:
        return _read(request)
    except Refused as refused:
        serving.observed.refuse(Code.REQUEST_INVALID, str(refused))
        raise


def _accepted(serving: Serving, asked: _InferRequest, tail: memoryview) -> dict[str, Array]:
    """Returns the inputs as arrays. What the version does not take counts as refused, and is raised as BadInput."""
    try:
        return _inputs(serving.assignment.manifest, asked, tail)
    except BadInput as error:
        serving.refuse(error, lambda manifest: _inputs(manifest, asked, tail))
        raise


def _inputs(manifest: Manifest, asked: _InferRequest, tail: memoryview) -> dict[str, Array]:
    acceptance = acceptance_of(manifest)
    wanted = acceptance.tensors
    arrays: dict[str, Array] = {}
    at = 0
    for given in asked.inputs:
        tensor = wanted.get(given.name)
        if tensor is None or given.name in arrays:
            why = "is given twice" if given.name in arrays else f"is unknown; the model takes {', '.join(wanted)}"
            raise BadInput(Code.TENSORS_INVALID, f"input {given.name[:64]!r} {why}"[:500])
        size = given.parameters.binary_data_size if given.parameters is not None else None
        binary = None if size is None else _cut(tail, at, size, given.name)
        at += size or 0
        arrays[given.name] = read_tensor(given, tensor, binary, acceptance)
    if len(arrays) < len(wanted):
        raise BadInput(Code.TENSORS_INVALID, f"input {min(wanted.keys() - arrays)!r} is missing")
    if at != len(tail):
        words = f"{len(tail) - at} bytes follow the tensors that binary_data_size names"
        raise BadInput(Code.TENSORS_INVALID, words)
    return arrays


def _key(asked: _InferRequest, request: Request) -> str | bytes:
    """Returns the routing key of a request."""
    named = asked.parameters.routing_key if asked.parameters is not None else ""
    return named or asked.id or bytes(request.body)


def _read(request: Request) -> tuple[_InferRequest, memoryview]:
    body, length = request.body, request.json_length
    if length is not None and not 0 <= length <= len(body):
        raise Refused(400, f"Inference-Header-Content-Length says {length}, the body has {len(body)} bytes")
    try:
        asked = _decode_infer(body if length is None else memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"request: {error}"[:500]) from None
    if asked.id is not None and len(asked.id) > MAX_ID_CHARS:
        raise Refused(400, f"id: {len(asked.id)} characters, limit {MAX_ID_CHARS}")
    if asked.parameters is not None and asked.parameters.sequence_id:
        raise Refused(501, "parameters.sequence_id: models here keep no state between requests")
    return asked, _NO_TAIL if length is None else memoryview(body)[length:]


def _cut(tail: memoryview, at: int, size: int, name: str) -> memoryview:
    if size < 0 or at + size > len(tail):
        left = len(tail) - at
        words = f"input {name[:64]!r}: binary_data_size says {size}, {left} bytes are left in the body"
        raise BadInput(Code.TENSORS_INVALID, words)
    return tail[at : at + size]


def _rows(inputs: Mapping[str, Array]) -> int:
    first = next(iter(inputs.values()))
    return int(first.shape[0]) if first.ndim else 1


def _respond(model: str, serving: Serving, asked: _InferRequest, outputs: list[Array]) -> Response:
    told: dict[str, Any] = {"model_name": model, "model_version": serving.version}
    if asked.id is not None:
        told["id"] = asked.id
    parts, raws = [], []
    for tensor, array, binary in _chosen(serving.assignment.manifest.outputs, asked, outputs):
        if binary:
            part, raw = as_binary(tensor, array)
            raws.append(raw)
        else:
            part = as_json(tensor, array)
        parts.append(part)
    told["outputs"] = parts
    head = _encode(told)
    if not raws:
        return Response(200, head)
    return Response(200, b"".join((head, *raws)), BYTES_TYPE, len(head))


def _chosen(
    tensors: tuple[Tensor, ...], asked: _InferRequest, outputs: list[Array]
) -> list[tuple[Tensor, Array, bool]]:
    """Returns the outputs that were asked for, in that order, and whether each is sent as bytes."""
    all_binary = asked.parameters is not None and asked.parameters.binary_data_output
    if not asked.outputs:
        return [(tensor, array, all_binary) for tensor, array in zip(tensors, outputs, strict=True)]
    known = {tensor.name: (tensor, array) for tensor, array in zip(tensors, outputs, strict=True)}
    chosen = []
    for wanted in asked.outputs:
        if wanted.name not in known:
            raise Refused(400, f"output {wanted.name[:64]!r} is unknown; the model gives {', '.join(known)}"[:500])
        parameters = wanted.parameters or _OutputParameters()
        if parameters.classification is not None:
            raise Refused(501, f"output {wanted.name}: the classification extension is not served")
        binary = all_binary if parameters.binary_data is None else parameters.binary_data
        chosen.append((*known[wanted.name], binary))
    return chosen


def _metadata(found: tuple[ModelSlot, Serving]) -> dict[str, Any]:
    slot, serving = found
    manifest = serving.assignment.manifest
    return {
        "name": slot.model,
        "versions": sorted(each.version for each in slot.versions),
        "platform": PLATFORM,
        "inputs": [_described(tensor) for tensor in manifest.inputs],
        "outputs": [_described(tensor) for tensor in manifest.outputs],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    """A tensor as the protocol describes it; names of dimensions are no part of that."""
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _plain(value: Any, status: int = 200) -> Response:
    return Response(status, _encode(value))


def refusal(status: int, words: str) -> Response:
    """Returns the protocol's error response."""
    return Response(status, _encode({"error": words}))
