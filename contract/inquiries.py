"""Questions of an operator to one device, and its answers: newest log lines, findings of its doctor, or the speed
of a model there.

Decides how much an answer may hold. Refuses to know who may ask: the controller knows it, and the device checks the
director's signature.
"""

from typing import Annotated, Literal

import msgspec

from contract.bounds import Count, Megabytes, Microseconds, Milliseconds, WholeMoment
from contract.manifest import Manifest
from contract.messages import Short, Signature, Text
from contract.wire import Message, Said

What = Literal["logs", "doctor", "probe"]
MAX_LINES = 400
"""The most lines of one answer: with MAX_LINE_CHARS they fit into one message."""
MAX_LINE_CHARS = 400
"""The most characters of a line; a longer line is cut."""
MAX_ANSWER_BYTES = 200_000
"""The most bytes of all lines of an answer, as encoded; the oldest are left out."""
LIFE_S = 60
"""Seconds. An older inquiry, by signed time or the device's clock, is not answered: it may be a replay."""
Line = Annotated[str, msgspec.Meta(max_length=MAX_LINE_CHARS)]


class Inquiry(Message, frozen=True):
    """A question to one device, signed by the director: a broker cannot ask by itself."""

    protocol: int
    device: Short
    id: Short
    """A random name; the answer repeats it."""
    what: What
    lines: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)]
    """The most lines that the answer may have."""
    issued: WholeMoment
    """Seconds since 1970."""
    keyid: Short
    """The id of the director's key."""
    candidate: Manifest | None = None
    """The model to probe, for `probe` only. It never serves, and its release has no meaning."""
    signature: Annotated[str, msgspec.Meta(max_length=512)] = ""


class Probed(Said, frozen=True):
    """The measurements of a probe on a device, or why there was none."""

    code: Short = ""
    """Empty if it succeeded; `busy` if the device has refused to begin."""
    detail: Text = ""
    load_ms: Milliseconds = 0.0
    latency_us_p50: Microseconds = 0.0
    """The median latency of one row."""
    memory_mb: Megabytes = 0.0
    """Resident memory that loading and running took."""
    sandbox: Short = ""
    """The degree to which the probe was confined."""


class Answered(Said, frozen=True):
    """The answer of a device to an inquiry."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    id: Short
    lines: Annotated[tuple[Line, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    """Oldest first, without secrets."""
    left_out: Count = 0
    """Older lines that the device still has and did not send."""
    probed: Probed | None = None
    """The measurements of `probe`; None for other questions."""
    signature: Signature = ""
    """The signature by the device's key over all other fields. Empty for a device without a key."""


def fitted(lines: tuple[str, ...], most: int) -> tuple[tuple[str, ...], int]:
    """Returns (the newest lines that an answer may hold, how many older ones are left out)."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        text = line[:MAX_LINE_CHARS]
        size += len(text.encode("utf-8", "replace")) + 8
        if len(kept) >= min(most, MAX_LINES) or size > MAX_ANSWER_BYTES:
            break
        kept.append(text)
    return tuple(reversed(kept)), len(lines) - len(kept)
