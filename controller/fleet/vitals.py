"""The vitals of a device: what its telemetry reports about the device itself, folded over five minutes.

Decides which figures there are, and which values are impossible. Time is the controller's: a device's clock may be
years off. Refuses to know where vitals are kept, and which of them are unusual.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.histogram import LATENCY_BUCKETS, upper_edge_us
from contract.messages import Telemetry

SPAN_S = 300.0
"""One row for five messages of a device that reports each minute; a day of a device is 288 rows, 30 kB."""
MAX_MESSAGES = 600
"""The most messages of one device in one interval: one in half a second. More messages take no memory."""
FIGURES = ("cpu_ratio", "rss_mb", "temperature_c", "inferences_s", "failure_ratio", "latency_ms")
"""The figures in the order in which they are stored: CPU time of the agent as a fraction of one core, its resident
memory, the hottest zone, inferences a second, the fraction that failed, the mean time for one inference."""
LIMITS = ((0.0, 1e4), (1e-3, 1e8), (-100.0, 300.0), (0.0, 1e8), (0.0, 1.0), (0.0, 1e6))
"""The range of possible measurements by figure. An agent that cannot measure memory reports 0 MB."""
_MIDDLES_MS = (
    0.00075,
    *(upper_edge_us(bucket) * 2**-0.25 / 1000.0 for bucket in range(1, LATENCY_BUCKETS - 1)),
    6.4e4,
)
"""Geometric means of the edges of each bucket of a latency histogram: a mean over many inferences changes before their
quantile does."""


class Vitals(msgspec.Struct, frozen=True):
    """One interval of one device. Each tuple holds a number by figure; NaN if it was not measured."""

    start: float
    """Seconds since 1970."""
    span_s: float
    messages: int
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VitalsRows:
    """The vitals of one device as arrays of n rows: 1,000 devices over two weeks are 650,000 rows."""

    device: str
    starts: NDArray[np.float64]
    """Shape (n,), in seconds since 1970."""
    messages: NDArray[np.float64]
    """Shape (n,)."""
    figures: NDArray[np.float32]
    """Shape (n, 3, figures): means, lows, highs."""


class OpenSpan:
    """The current interval of a device, message by message."""

    __slots__ = ("_said", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self._said: list[tuple[float, ...]] = []

    @property
    def messages(self) -> int:
        """The number of messages that were folded in."""
        return len(self._said)

    def add(self, message: Telemetry) -> None:
        """Folds one message in; none after `MAX_MESSAGES`."""
        if len(self._said) < MAX_MESSAGES:
            self._said.append(_values(message))

    def vitals(self) -> Vitals:
        """Returns the vitals up to now."""
        by_figure = [
            [value for value in values if least <= value <= most] or [math.nan]  # NaN is in no range
            for values, (least, most) in zip(zip(*self._said, strict=True), LIMITS, strict=True)
        ]
        means = tuple(sum(values) / len(values) for values in by_figure)
        lows, highs = tuple(map(min, by_figure)), tuple(map(max, by_figure))
        return Vitals(self.start, SPAN_S, len(self._said), means, lows, highs)


def span_of(now: float) -> float:
    """Returns when the interval that contains `now` began."""
    return now // SPAN_S * SPAN_S


def merged(rows: Sequence[Vitals], start: float, span_s: float) -> Vitals:
    """Returns the vitals of a longer interval: means weighted by the number of messages, lowest and highest values."""
    means = []
    for place in range(len(FIGURES)):
        there = [(row.means[place], row.messages) for row in rows if not math.isnan(row.means[place])]
        count = sum(messages for _, messages in there)
        means.append(sum(mean * messages for mean, messages in there) / count if count else math.nan)
    lows = tuple(_pick(min, [row.lows[place] for row in rows]) for place in range(len(FIGURES)))
    highs = tuple(_pick(max, [row.highs[place] for row in rows]) for place in range(len(FIGURES)))
    return Vitals(start, span_s, sum(row.messages for row in rows), tuple(means), lows, highs)


def _pick(choose: Callable[[list[float]], float], values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return choose(there) if there else math.nan


def _values(message: Telemetry) -> tuple[float, ...]:
    """Returns by figure the value in one message; NaN if it has none. Late labels are no inferences."""
    inferences = errors = timed = 0
    total_ms = 0.0
    for each in message.intervals:
        if not each.age_s:
            inferences += each.inferences
            errors += each.errors
            timed += sum(each.latency_counts)
            total_ms += sum(map(mul, each.latency_counts, _MIDDLES_MS))
    return (
        message.cpu_ratio,
        message.rss_mb,
        math.nan if message.temperature_c is None else message.temperature_c,
        inferences / message.interval_s if message.interval_s > 0 else math.nan,
        errors / inferences if inferences else math.nan,
        total_ms / timed if timed else math.nan,
    )
