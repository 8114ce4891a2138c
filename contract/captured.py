"""What a device kept of its inferences for people and for retraining: inputs, the answer, and why this one.

Kept on flash until the controller holds it durably; (boot, seq) names a batch, a duplicate changes nothing.
"""

from typing import Annotated, Literal

import msgspec

from contract.messages import Count, Short, Signature
from contract.wire import Message

MAX_ROWS = 256
MAX_COLUMNS = 512
MAX_BATCH_BYTES = 128 * 1024

Cell = float | int | bool | str | None


class CapturedRow(Message, frozen=True):
    """One inference."""

    at: float
    """Seconds since 1970, by the device's clock."""
    model: Short
    release: Count
    why: Literal["sampled", "hard"]
    """Hard: the model was less sure than the device's configuration asks."""
    inputs: Annotated[dict[str, Cell], msgspec.Meta(max_length=MAX_COLUMNS)]
    """By column, without those that the device's configuration removes."""
    value: str | float | None
    """What was answered; None where the inference failed or the answer was not a number."""
    confidence: float | None = None
    """The largest probability, where the model gives any."""
    label: str | float | None = None


class Captured(Message, frozen=True):
    """One batch."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    rows: Annotated[tuple[CapturedRow, ...], msgspec.Meta(max_length=MAX_ROWS)]
    signature: Signature = ""
    """Of the device's key over everything else; empty for a device that has none."""
