"""A run as it is sent to a controller: its record, and its numbers over steps.

Decides what a controller accepts of a run. Refuses to know how a run is made, and where it is kept.
"""

import math

from contract.errors import BadInput, Code
from contract.run_record import MAX_ARTIFACTS, MAX_DATA, MAX_PARAMS, MAX_SERIES, Record
from contract.wire import Message

MAX_SENT_POINTS = 50_000
"""Numbers of one sent run: 2 MB. A plot of 1,000 pixels shows no more of one metric; the run itself keeps all."""
MAX_SENT_BYTES = 8 * 1024**2
MAX_ID_CHARS = 64
MAX_PACKAGES = 2_000


class Curve(Message, frozen=True):
    """One metric over steps. A number that is not finite is null: a training that diverged shows a gap."""

    metric: str
    steps: tuple[int, ...]
    values: tuple[float | None, ...]
    at: tuple[float, ...]
    """Seconds since 1970."""
    thinned: bool = False
    """Whether only every n-th number was sent."""


class SentRun(Message, frozen=True):
    """One run, as a controller keeps it."""

    record: Record
    curves: tuple[Curve, ...] = ()


def check_sent(sent: SentRun) -> None:
    """Raises BadInput `request_invalid` for more than a controller keeps of a run, or for curves that do not fit."""
    record = sent.record
    for what, found, limit in (
        ("characters in its id", len(record.id), MAX_ID_CHARS),
        ("parameters", len(record.params), MAX_PARAMS),
        ("metrics", max(len(record.metrics), len(sent.curves)), MAX_SERIES),
        ("artifacts", len(record.artifacts), MAX_ARTIFACTS),
        ("sets of rows", len(record.data), MAX_DATA),
        ("packages", len(record.environment.packages), MAX_PACKAGES),
        ("numbers", sum(len(curve.steps) for curve in sent.curves), MAX_SENT_POINTS),
    ):
        if found > limit:
            raise BadInput(Code.REQUEST_INVALID, f"a run with {found} {what}, limit {limit}")
    if not record.id or not set(record.id) <= _ID:
        raise BadInput(Code.REQUEST_INVALID, f"run {record.id[:64]!r}: expected letters, digits, '-', '_' and '.'")
    if not all(map(math.isfinite, (record.started_at, record.ended_at))):
        raise BadInput(Code.REQUEST_INVALID, "a run begins and ends at a time in seconds since 1970")
    for curve in sent.curves:
        if not len(curve.steps) == len(curve.values) == len(curve.at):
            raise BadInput(
                Code.REQUEST_INVALID, f"metric {curve.metric[:64]!r}: steps, values and times differ in number"
            )


_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
