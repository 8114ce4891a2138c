"""Streams over the Open Inference Protocol: the key of a request, and where a stream begins and ends.

Decides which parameter names a stream: `routing_key`, or Triton's `sequence_id`. Refuses to know what is kept.
"""

from agent.serving.oip_messages import InferRequest, Refused
from agent.serving.serving import Serving
from contract.errors import Code


def named_key(asked: InferRequest) -> str:
    """Returns the routing key that a request names, or its sequence id; empty if it names neither."""
    parameters = asked.parameters
    if parameters is None:
        return ""
    return parameters.routing_key or (str(parameters.sequence_id) if parameters.sequence_id else "")


def begin_stream(serving: Serving, asked: InferRequest, key: str) -> None:
    """Starts a stream again if a request says so. `Refused` 501 for a sequence of a model without state."""
    parameters, streams = asked.parameters, serving.streams
    if parameters is None:
        return
    if streams is None and parameters.sequence_id:
        words = "parameters.sequence_id: this model keeps no state between requests: send it as an input"
        serving.observed.refuse(Code.REQUEST_INVALID, words)
        raise Refused(501, words)
    if streams is not None and key and parameters.sequence_start:
        streams.forget(key)


def end_stream(serving: Serving, asked: InferRequest, key: str) -> None:
    """Deletes a stream if the request is marked as its last one."""
    if asked.parameters is not None and asked.parameters.sequence_end and key and serving.streams is not None:
        serving.streams.forget(key)
