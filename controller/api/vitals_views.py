"""Vitals as the API answers them: a row for each interval of time, figures by name."""

import math
from collections.abc import Iterable

from contract.wire import Message
from controller.fleet.vitals import FIGURES, Vitals


class Spread(Message, frozen=True):
    """One figure in one interval of time."""

    mean: float
    low: float
    high: float
    """The lowest and the highest value in any message."""


class VitalsRow(Message, frozen=True):
    """What a device reported about itself in one interval of time; None for what it did not measure."""

    start: float
    """Seconds since 1970, on the controller's clock."""
    span_s: float
    messages: int
    cpu_ratio: Spread | None
    """CPU time of the agent as a fraction of one core."""
    rss_mb: Spread | None
    temperature_c: Spread | None
    inferences_s: Spread | None
    failure_ratio: Spread | None
    latency_ms: Spread | None
    """The mean time for one inference, to within a bucket of the histogram."""


def vitals_rows(found: Iterable[Vitals]) -> list[VitalsRow]:
    """Rows in the order of `found`."""
    return [
        VitalsRow(
            start=each.start,
            span_s=each.span_s,
            messages=each.messages,
            **{figure: _spread(each, place) for place, figure in enumerate(FIGURES)},
        )
        for each in found
    ]


def _spread(vitals: Vitals, place: int) -> Spread | None:
    """Rounds to six significant digits, as they are stored."""
    mean, low, high = (float(f"{part[place]:.6g}") for part in (vitals.means, vitals.lows, vitals.highs))
    return None if math.isnan(mean) else Spread(mean=mean, low=low, high=high)
