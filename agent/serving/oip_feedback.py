"""Labels and metrics over HTTP, beside the Open Inference Protocol: later reports of an application about answers.

Decides what such a request must hold, and the status of each refusal. Refuses to know how labels count: `truth` does.
"""

from typing import Any

import msgspec

from agent.serving.oip_messages import Refused, Request, Response, plain
from agent.serving.slot import ModelSlot
from contract.errors import BadInput, Code

_STATUSES = {Code.ANSWER_UNKNOWN: 404, Code.LABEL_REPEATED: 409}
"""Statuses other than 400. A label for an answer that is not known any more is too late, and it is useless to send
it again.
"""


class Feedback(msgspec.Struct):
    """The body of a label."""

    id: str
    """The answer's id: the header `Edgeward-Answer-Id` of its response; `.3` at its end names its fourth row."""
    label: Any
    """A label, or a list with one for each row of the answer; null if it is missing."""


class Metric(msgspec.Struct):
    """The body of a number that the application measures."""

    name: str
    value: float
    id: str = ""
    """The answer whose version it belongs to; empty: the version that serves now."""


def take_feedback(slot: ModelSlot, request: Request) -> Response:
    """Counts a label. `Refused` 400, 404 or 409."""
    try:
        asked = _FEEDBACK(request.body)
        found = slot.feedback(asked.id, asked.label)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"feedback: {error}"[:500]) from None
    except BadInput as error:
        raise Refused(_STATUSES.get(error.code, 400), error.detail) from None
    told: dict[str, Any] = {
        "model_name": slot.model,
        "model_version": str(found.release),
        "id": asked.id,
        "rows": found.rows,
    }
    if found.rows_unknown:
        told["rows_of_no_known_class"] = found.rows_unknown
    return plain(told)


def take_metric(slot: ModelSlot, request: Request) -> Response:
    """Counts a number that the application measures. `Refused` 400 or 404; WorldError `not_serving`."""
    try:
        asked = _METRIC(request.body)
        slot.metric(asked.name, asked.value, asked.id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"metric: {error}"[:500]) from None
    except BadInput as error:
        raise Refused(_STATUSES.get(error.code, 400), error.detail) from None
    return plain({"model_name": slot.model, "name": asked.name})


_FEEDBACK = msgspec.json.Decoder(Feedback).decode
_METRIC = msgspec.json.Decoder(Metric).decode
