"""The largest size of a pushed model, and the error for a larger one before any of it is sent or stored.

Decides nothing about devices: their own memory limits what they are given. Refuses to know how a model is pushed.
"""

from contract.errors import BadInput, Code
from contract.protocol import MAX_MODEL_BYTES


def refuse_large(size_bytes: int, what: str) -> None:
    """Raises BadInput `message_too_large` for a model that is too large, with the remedy. `what` names it."""
    if size_bytes > MAX_MODEL_BYTES:
        raise BadInput(
            Code.MESSAGE_TOO_LARGE,
            f"{what} has {size_bytes / 2**30:.2f} GiB, a model may have {MAX_MODEL_BYTES / 2**30:g} (and no ONNX file "
            "can have more than 2, where protobuf ends): store its weights as fp16 or int8, or make it smaller",
        )
