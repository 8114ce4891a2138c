"""Rows of telemetry as people ask for them: by hour or day, of the fleet, of strata, or of each device.

Decides which rows are summed. Refuses to know where they are stored.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from contract.histogram import quantile_us
from contract.wire import Message
from controller.rollout.facts import Sums

Every = Literal["minute", "ten_minutes", "hour", "day"]
By = Literal["fleet", "stratum", "device"]
SPANS_S: dict[Every, float] = {"minute": 60.0, "ten_minutes": 600.0, "hour": 3600.0, "day": 86_400.0}
MAX_ROWS = 10_000
"""The most rows of one answer: 2 MB."""


class TelemetryRow(Message, frozen=True):
    """The counts of one release in one interval of time."""

    start: float
    """Seconds since 1970."""
    span_s: float
    release: int
    of: str
    """The device or the stratum; empty: the fleet."""
    devices: int
    inferences: int
    errors: int
    labelled: int
    accuracy: float | None
    mean_absolute_error: float | None
    latency_us_p50: float | None
    latency_us_p95: float | None
    compared: int
    agreed: int


def rows_by(
    past: Iterable[tuple[str, int, float, Sums]], every: Every, named: Callable[[str], str | None]
) -> list[TelemetryRow]:
    """Returns rows by time, release and the text that `named` gives a device; devices with None are left out. Oldest
    first.
    """
    span_s = SPANS_S[every]
    sums: dict[tuple[float, int, str], Sums] = {}
    seen: dict[tuple[float, int, str], set[str]] = {}
    for device, release, start, found in past:
        if (name := named(device)) is not None:
            key = (start // span_s * span_s, release, name)
            sums[key] = sums.get(key, Sums()).plus(found)
            seen.setdefault(key, set()).add(device)
    return [_row(key, span_s, len(seen[key]), sums[key]) for key in sorted(sums)]


def _row(key: tuple[float, int, str], span_s: float, devices: int, sums: Sums) -> TelemetryRow:
    start, release, name = key
    return TelemetryRow(
        start=start,
        span_s=span_s,
        release=release,
        of=name,
        devices=devices,
        inferences=sums.inferences,
        errors=sums.errors,
        labelled=sums.labelled,
        accuracy=sums.accuracy,
        mean_absolute_error=sums.mean_absolute_error,
        latency_us_p50=quantile_us(sums.time_for_a_row, 0.5),
        latency_us_p95=quantile_us(sums.time_for_a_row, 0.95),
        compared=sums.compared,
        agreed=sums.agreed,
    )
