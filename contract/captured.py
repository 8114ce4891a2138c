"""Captured inferences, for people and for retraining: inputs, the answer, and why the row was captured.

A device keeps a batch on flash until the controller has it durably. (boot, seq) names a batch; a batch that arrives
twice changes nothing.
"""

from typing import Annotated, Literal

import msgspec

from contract.bounds import Count, Moment, Ratio, Whole64
from contract.dsse import covered
from contract.messages import Short, Signature
from contract.signatures import Sign
from contract.wire import Said, encode

MAX_ROWS = 256
MAX_LABELS = 256
MAX_COLUMNS = 512
MAX_BATCH_BYTES = 128 * 1024
SIGNATURE_CHARS = 96
"""The characters of a row's signature by a key on P-256, from which a batch's size is computed."""
_ROW_KIND = b"application/vnd.edgeward.captured-row+json"

Cell = float | Whole64 | bool | str | None


class CapturedRow(Said, frozen=True):
    """One captured inference."""

    at: Moment
    """Seconds since 1970, by the device's clock."""
    model: Short
    release: Count
    why: Literal["sampled", "hard"]
    """The reason for capturing the row. `hard`: the confidence was below the limit in the device's configuration."""
    inputs: Annotated[dict[str, Cell], msgspec.Meta(max_length=MAX_COLUMNS)]
    """Input cells by column, without the columns that the device's configuration removes."""
    value: str | float | None
    """The answer. None if the inference failed or the answer was not a number."""
    confidence: Ratio | None = None
    """The largest probability, in [0, 1]. None if the model gives no probabilities."""
    label: str | float | None = None
    id: Short = ""
    """The id of the answer on its device, as the application got it; `.3` at its end is the fourth row of a
    request."""
    key: Short = ""
    """The person or thing to which the row belongs; empty if the device's configuration lets no key leave."""
    file: Short = ""
    """The name of the file from which the row came; only for images."""
    signature: Signature = ""
    """The signature by the device's key over `answered_bytes`, which proves the answer without its batch.
    Empty for a device without a key."""


class LateLabel(Said, frozen=True):
    """The label of a captured row that came after the row had been written: minutes or days later."""

    model: Short
    id: Short
    """The answer's id, as the row has it."""
    label: str | float


class Captured(Said, frozen=True):
    """One batch of captured inferences, and labels of rows in earlier batches."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    rows: Annotated[tuple[CapturedRow, ...], msgspec.Meta(max_length=MAX_ROWS)]
    labels: Annotated[tuple[LateLabel, ...], msgspec.Meta(max_length=MAX_LABELS)] = ()
    signature: Signature = ""
    """The signature by the device's key over all other fields. Empty for a device without a key."""


def answered_bytes(row: CapturedRow) -> bytes:
    """The bytes that a row's signature covers: all fields except the label, which may come days later."""
    return covered(_ROW_KIND, encode(msgspec.structs.replace(row, label=None, signature="")))


def sign_row(row: CapturedRow, sign: Sign | None) -> CapturedRow:
    """Returns the row with its signature; unchanged if `sign` is None, for a device without a key."""
    return row if sign is None else msgspec.structs.replace(row, signature=sign(answered_bytes(row)))
