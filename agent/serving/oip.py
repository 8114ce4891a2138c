"""The Open Inference Protocol v2: a request in, a response out. Any KServe or Triton client works against it.

Decides routes, what a request must hold, and the status codes of the protocol, which are those of HTTP. Refuses to know
sockets, and changes no model: loading and unloading belong to the controller. Source:
https://github.com/kserve/open-inference-protocol, with Triton's binary tensor, statistics and repository extensions
(https://github.com/triton-inference-server/server/tree/main/docs/protocol).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from agent.ports import Array, Stopped
from agent.serving.acceptance import acceptance_of
from agent.serving.by_column import joined, matrix_columns, split_by_column
from agent.serving.metrics import Facts, exposition
from agent.serving.model_config import model_config
from agent.serving.oip_feedback import take_feedback, take_metric
from agent.serving.oip_messages import (
    InferRequest,
    Refused,
    Request,
    Response,
    plain,
    read_infer,
    refusal,
)
from agent.serving.oip_outputs import Chosen, chosen_of, respond
from agent.serving.oip_streams import begin_stream, end_stream, named_key
from agent.serving.rows import count_rows, refuse_unequal_rows
from agent.serving.serving import Serving
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from agent.serving.tensors import read_tensor
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest, Tensor

SERVER = "edgeward-agent"
EXTENSIONS = ("binary_tensor_data", "statistics", "model_repository", "model_configuration")
PLATFORM = "onnx_onnxv1"
NOT_SERVED = ("systemsharedmemory", "cudasharedmemory", "trace", "logging")
"""Triton's other extensions below /v2. A request for one is refused as not served."""


class Endpoint:
    """Answers requests to all models of a device. `slots` is called for each request, because models are added and
    removed.
    """

    def __init__(
        self,
        slots: Callable[[], Mapping[str, ModelSlot]],
        statistics: Statistics,
        *,
        version: str,
        facts: Callable[[], Facts] = Facts,
        ready_when_empty: bool = True,
        dropped: Counter[str] | None = None,
        device: str = "",
    ) -> None:
        self._slots = slots
        self._statistics = statistics
        self._server: dict[str, Any] = {"name": SERVER, "version": version, "extensions": EXTENSIONS}
        if device:
            self._server["device"] = device
        self._facts = facts
        self._ready_when_empty = ready_when_empty
        self._dropped: Counter[str] = Counter() if dropped is None else dropped

    def answer(self, request: Request) -> Response:
        """Returns the response to any request; never raises."""
        try:
            return self._route(request)
        except Refused as refused:
            return refusal(refused.status, str(refused), refused.headers)
        except BadInput as error:
            return refusal(400, error.detail)
        except WorldError as error:
            return refusal(503, error.detail)
        except Stopped as stopped:
            return refusal(503, str(stopped))
        except Exception as error:  # the runtime's exceptions share no base class; the slot has counted it
            return refusal(500, f"{type(error).__name__}: {error}"[:500])

    def expected_s(self, request: Request) -> float:
        """Returns the expected seconds of an inference, by its size; infinity if that is unknown, 0 for other paths.

        A label that may be the first one for an earlier start reads its answers from flash: infinity.
        """
        parts, posts = _parts(request.path)
        slot = self._slots().get(parts[2]) if posts else None
        if parts[-1] == "feedback":
            return math.inf if slot is not None and slot.answers.is_unread else 0.0
        serving = slot.serving if slot is not None else None
        return 0.0 if serving is None else serving.cost.expected_s(request.body, request.json_length)

    def turned_away(self, path: str, code: Code, words: str) -> None:
        """Counts a request that was refused unread, or for which no caller waits, for the model that it names."""
        parts, posts = _parts(path)
        slot = self._slots().get(parts[2]) if posts and parts[-1] == "infer" else None
        if slot is None or (serving := slot.serving) is None:
            return
        asked = parts[4] if len(parts) == 6 else serving.version
        serving = next((each for each in slot.versions if each.version == asked), serving)
        self._statistics.failed(slot.model, serving.version, self._statistics.begin())
        serving.observed.refuse(code, words)

    def _route(self, request: Request) -> Response:
        (parts, posts), method = _parts(request.path), request.method
        if posts and method == "POST":
            return self._post(parts, request)
        if not posts and method in ("GET", "HEAD"):
            return self._look(parts)
        return self._other(parts, method, posts=posts)

    def _post(self, parts: tuple[str, ...], request: Request) -> Response:
        match parts[1:]:
            case ["models", name, "infer"]:
                return self._infer(self._found(name), request)
            case ["models", name, "versions", version, "infer"]:
                return self._infer(self._found(name, version), request, chosen=True)
            case ["models", name, "feedback"]:
                return take_feedback(self._slot(name), request)
            case ["models", name, "metrics"]:
                return take_metric(self._slot(name), request)
            case ["repository", "index"]:
                return plain([entry for name in sorted(self._slots()) for entry in self._indexed(name)])
        raise Refused(403, "models come by signed rollouts from the controller: edgeward rollout start")

    def _other(self, parts: tuple[str, ...], method: str, *, posts: bool) -> Response:
        """Answers OPTIONS. `Refused` 405 for a method that the path does not take, 404 for an unknown path."""
        allow = "POST, OPTIONS" if posts else "GET, HEAD, OPTIONS"
        if parts != ("*",) and not posts:
            try:
                self._look(parts)
            except Refused as refused:
                if refused.status == 404:
                    raise
        if method == "OPTIONS":
            return Response(204, b"", headers=(f"Allow: {allow}",))
        raise Refused(405, f"{method} of /{'/'.join(parts)[:100]}: it takes {allow}", (f"Allow: {allow}",))

    def _look(self, parts: tuple[str, ...]) -> Response:
        match parts:
            case ["metrics"]:
                text = exposition(self._statistics, self._slots(), self._facts())
                return Response(200, text, "text/plain; version=0.0.4")
            case ["v2"]:
                return plain(self._server)
            case ["v2", "health", "live" | "ready" as asked]:
                well = asked == "live" or self._is_ready()
                return plain({asked: well}, 200 if well else 503)
            case ["v2", "models"]:
                return plain({"models": sorted(self._slots())})
            case ["v2", "models", "stats"]:
                return plain({"model_stats": self._statistics.told()})
            case ["v2", "models", name, *rest]:
                return self._look_at(name, rest)
            case ["v2", extension, *_] if extension in NOT_SERVED:
                raise Refused(501, f"the extension {extension} is not served")
        words = "this server speaks the protocol below /v2"
        raise Refused(404, f"no such path: {'/' + '/'.join(parts)[:100]!r}; {words}")

    def _is_ready(self) -> bool:
        """Whether each version that must serve does. A first version that was rejected or is still being fetched need
        not.
        """
        slots = self._slots().values()
        if any(slot.due and slot.serving is None for slot in slots):
            return False
        return self._ready_when_empty or any(slot.serving is not None for slot in slots)

    def _look_at(self, name: str, rest: list[str]) -> Response:
        version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else None
        match rest[2:] if version is not None else rest:
            case []:
                return plain(_metadata(self._ready(name, version)))
            case ["ready"]:
                slot = self._slot(name)
                versions = [serving.version for serving in slot.versions]
                ready = version in versions if version is not None else bool(versions)
                return plain({"name": slot.model, "ready": ready}, 200 if ready else 503)
            case ["stats"]:
                self._slot(name)
                return plain({"model_stats": self._statistics.told(name, version)})
            case ["config"]:
                slot, serving = self._ready(name, version)
                return plain(model_config(slot.model, serving.assignment.manifest))
        raise Refused(404, f"no such path below model {name[:64]}")

    def _infer(self, found: tuple[ModelSlot, Serving], request: Request, *, chosen: bool = False) -> Response:
        slot, serving = found
        clock = self._statistics.begin()
        try:
            asked, tail = _parsed(serving, request)
            if asked.parameters is not None and asked.parameters.timeout:
                _heed_timeout(asked.parameters.timeout, request, clock.began)
            if slot.split is not None and not chosen:
                serving = slot.answering(_key(asked, request)) or serving
            outputs = _wanted(serving, asked)
            inputs = _accepted(serving, asked, tail)
            rows = count_rows(inputs)
            clock.read()
            number, key = slot.answers.next_number(), named_key(asked)
            begin_stream(serving, asked, key)
            answered, arrays = slot.run_or_fall_back(serving, inputs, request.stop, key, number)
            end_stream(answered, asked, key)
            clock.ran()
            if answered is not serving:
                serving, outputs = answered, chosen_of(answered.assignment.manifest.outputs, asked)
            response = respond(slot.model, serving, asked, outputs, arrays)
            response.answer_id = slot.answers.name(number)
        except BaseException as error:
            self._statistics.failed(slot.model, serving.version, clock)
            if isinstance(error, Stopped):
                serving.observed.refuse(Code.REQUEST_CANCELLED, str(error))
            raise
        self._statistics.succeeded(slot.model, serving.version, clock, rows)
        serving.cost.learn(inputs, (clock.infer_until - clock.input_until) * 1e-9)
        return response

    def _slot(self, name: str) -> ModelSlot:
        slot = self._slots().get(name)
        if slot is None:
            raise Refused(404, f"unknown model {name[:64]!r}; GET /v2/models lists them")
        return slot

    def _found(self, name: str, version: str | None = None) -> tuple[ModelSlot, Serving]:
        """Returns who is asked for an inference. A request for a model or version that is not there is counted: as
        one number, because callers choose the names.
        """
        try:
            return self._ready(name, version)
        except Refused:
            self._dropped["requests_unserved"] += 1
            raise

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


@lru_cache(maxsize=64)
def _parts(path: str) -> tuple[tuple[str, ...], bool]:
    """Splits a path without its query at the slashes, and tells whether it takes POST.

    Cached: clients send the same few paths.
    """
    parts = tuple(path.partition("?")[0].strip("/").split("/"))
    return parts, _takes_post(parts)


def _takes_post(parts: tuple[str, ...]) -> bool:
    match parts:
        case ["v2", "models", _, "infer" | "feedback" | "metrics"] | ["v2", "models", _, "versions", _, "infer"]:
            return True
        case ["v2", "repository", "index"]:
            return True
        case ["v2", "repository", "models", _, "load" | "unload"]:
            return True
    return False


def _heed_timeout(timeout_us: int, request: Request, now_ns: int) -> None:
    """Applies the timeout of a request: cancels it now, with `Stopped`, or later."""
    words = f"the request's timeout of {timeout_us} us is over"
    left_s = timeout_us * 1e-6 - ((now_ns - request.received_ns) * 1e-9 if request.received_ns else 0.0)
    if left_s <= 0:
        raise Stopped(words)
    if request.stop is not None:
        request.stop.within(left_s, words)


def _parsed(serving: Serving, request: Request) -> tuple[InferRequest, memoryview]:
    """Reads a request. An unreadable request counts as refused by the version that answers by default."""
    try:
        return read_infer(request)
    except Refused as refused:
        serving.observed.refuse(Code.REQUEST_INVALID, str(refused))
        raise


def _wanted(serving: Serving, asked: InferRequest) -> Chosen:
    """Returns the requested outputs. A request for an output that the version does not give counts as refused."""
    try:
        return chosen_of(serving.assignment.manifest.outputs, asked)
    except Refused as refused:
        serving.observed.refuse(Code.REQUEST_INVALID, str(refused))
        raise


def _accepted(serving: Serving, asked: InferRequest, tail: memoryview) -> dict[str, Array]:
    """Returns the inputs as arrays. Inputs that the version does not accept count as refused, and raise BadInput."""
    try:
        return _inputs(serving.assignment.manifest, asked, tail)
    except BadInput as error:
        serving.refuse(error, lambda manifest: _inputs(manifest, asked, tail))
        raise


def _inputs(manifest: Manifest, asked: InferRequest, tail: memoryview) -> dict[str, Array]:
    acceptance = acceptance_of(manifest)
    wanted = acceptance.tensors
    arrays: dict[str, Array] = {}
    at = 0
    for given in asked.inputs:
        tensor = wanted.get(given.name)
        if tensor is None and not arrays and (split := split_by_column(manifest, asked.inputs)) is not None:
            by_column = msgspec.structs.replace(asked, inputs=split[1])
            return joined(manifest, _inputs(split[0], by_column, tail))
        if tensor is None or given.name in arrays:
            why = "is given twice" if given.name in arrays else f"is unknown; the model takes {_taken(manifest)}"
            raise BadInput(Code.TENSORS_INVALID, f"input {given.name[:64]!r} {why}"[:500])
        size = given.parameters.binary_data_size if given.parameters is not None else None
        if given.parameters is not None and given.parameters.shared_memory_region is not None:
            raise Refused(501, f"input {given.name[:64]!r}: shared memory is not served: send the data itself")
        binary = None if size is None else _cut(tail, at, size, given.name)
        at += size or 0
        arrays[given.name] = read_tensor(given, tensor, binary, acceptance)
    if len(arrays) < len(wanted):
        raise BadInput(Code.TENSORS_INVALID, f"input {min(wanted.keys() - arrays)!r} is missing")
    if at != len(tail):
        words = f"{len(tail) - at} bytes follow the tensors that binary_data_size names"
        raise BadInput(Code.TENSORS_INVALID, words)
    refuse_unequal_rows(arrays, manifest)
    return arrays


def _taken(manifest: Manifest) -> str:
    """Returns in words which inputs a request may have."""
    columns = matrix_columns(manifest)
    by_column = f", or one tensor for each of its {len(columns)} columns" if len(columns) > 1 else ""
    return f"{', '.join(tensor.name for tensor in manifest.inputs)}{by_column}"


def _key(asked: InferRequest, request: Request) -> str | bytes:
    """Returns the routing key of a request."""
    return named_key(asked) or asked.id or bytes(request.body)


def _cut(tail: memoryview, at: int, size: int, name: str) -> memoryview:
    if size < 0 or at + size > len(tail):
        left = len(tail) - at
        words = f"input {name[:64]!r}: binary_data_size says {size}, {left} bytes are left in the body"
        raise BadInput(Code.TENSORS_INVALID, words)
    return tail[at : at + size]


def _metadata(found: tuple[ModelSlot, Serving]) -> dict[str, Any]:
    slot, serving = found
    manifest = serving.assignment.manifest
    return {
        "name": slot.model,
        "versions": sorted(each.version for each in slot.versions),
        "platform": PLATFORM,
        "inputs": [_described(tensor) | _with_columns(manifest) for tensor in manifest.inputs],
        "outputs": [_described(tensor) for tensor in manifest.outputs],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    """Returns a tensor as the protocol describes it, without names of dimensions."""
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _with_columns(manifest: Manifest) -> dict[str, Any]:
    """Returns the columns of a matrix of several columns as a parameter of its input; empty for any other model."""
    columns = matrix_columns(manifest)
    return {"parameters": {"columns": columns}} if len(columns) > 1 else {}
