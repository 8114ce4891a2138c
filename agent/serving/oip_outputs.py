"""Outputs of the Open Inference Protocol: which are asked for, and the response that holds them.

Decides what is sent as JSON and what as raw bytes behind it. Refuses to know inputs and sessions.
"""

from typing import Any

import msgspec

from agent.ports import Array
from agent.serving.oip_messages import BYTES_TYPE, InferRequest, OutputParameters, Refused, Response
from agent.serving.serving import Serving
from agent.serving.tensors import as_binary, as_json
from contract.manifest import Tensor

Chosen = list[tuple[int, Tensor, bool]]
"""For each requested output: its place, the tensor, and whether it is sent as bytes."""
_encode = msgspec.json.encode


def respond(model: str, serving: Serving, asked: InferRequest, chosen: Chosen, arrays: list[Array]) -> Response:
    """Returns the response of an inference: `arrays` are all outputs in the manifest's order, shapes (rows, ...)."""
    told: dict[str, Any] = {"model_name": model, "model_version": serving.version}
    if asked.id is not None:
        told["id"] = asked.id
    parts, raws = [], []
    for place, tensor, binary in chosen:
        if binary:
            part, raw = as_binary(tensor, arrays[place])
            raws.append(raw)
        else:
            part = as_json(tensor, arrays[place])
        parts.append(part)
    told["outputs"] = parts
    head = _encode(told)
    if not raws:
        return Response(200, head)
    return Response(200, b"".join((head, *raws)), BYTES_TYPE, len(head))


def chosen_of(tensors: tuple[Tensor, ...], asked: InferRequest) -> Chosen:
    """Returns the requested outputs, in that order; all of them if none was named. `Refused` before the run."""
    all_binary = asked.parameters is not None and asked.parameters.binary_data_output
    if not asked.outputs:
        return [(place, tensor, all_binary) for place, tensor in enumerate(tensors)]
    known = {tensor.name: (place, tensor) for place, tensor in enumerate(tensors)}
    chosen = []
    for wanted in asked.outputs:
        if wanted.name not in known:
            raise Refused(400, f"output {wanted.name[:64]!r} is unknown; the model gives {', '.join(known)}"[:500])
        parameters = wanted.parameters or OutputParameters()
        if parameters.classification is not None:
            raise Refused(501, f"output {wanted.name}: the classification extension is not served")
        if parameters.shared_memory_region is not None:
            raise Refused(501, f"output {wanted.name}: shared memory is not served: it comes in the response")
        binary = all_binary if parameters.binary_data is None else parameters.binary_data
        chosen.append((*known[wanted.name], binary))
    return chosen
