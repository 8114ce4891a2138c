"""Counts of a device that are impossible, such as more errors than inferences.

Decides by arithmetic alone. Improbable counts are accepted as the report of one device. Refuses to know the use of
counts.
"""

import math
from collections.abc import Iterator

from contract.messages import ModelInterval

MAX_PER_S = 1e6
"""Inferences per second that no device reaches: the fastest model here takes three microseconds."""
MAX_NUMBERS_PER_S = 1e9
"""Rows, answers or cells per second that no device reaches: they are counted one after the other."""
SHORTEST_S = 1.0
"""A message about a shorter time counts as this long: it may contain counts from before the clock changed."""
_ROUNDING = 1e-6

_PARTS = (("errors", "inferences"), ("correct", "labelled"), ("measured", "labelled"), ("agreed", "compared"))
_COUNTS = ("inferences", "labelled", "compared", "refused_alone", "labels_unusable", "labels_unknown")
_SUMS = (("absolute_error_sum", "squared_error_sum"), ("label_sum", "squared_label_sum"))


def why_impossible(interval: ModelInterval, interval_s: float, inferences: int = 0) -> str:
    """Returns in words why the counts of `interval_s` seconds are impossible; empty if they are possible.

    `inferences`: those of other entries about the same seconds.
    """
    for part, whole in _PARTS:
        if (there := getattr(interval, part)) and there > getattr(interval, whole):
            return f"{there} {part} of {getattr(interval, whole)} {whole}"
    for name in ("latency_counts", "row_latency_counts"):
        if sum(getattr(interval, name)) > interval.inferences:
            return f"more {name} than {interval.inferences} inferences"
    return _too_many(interval, max(SHORTEST_S, interval_s), inferences) or _impossible_sums(interval)


def _too_many(interval: ModelInterval, seconds: float, inferences: int) -> str:
    most = MAX_PER_S * seconds
    if max(getattr(interval, name) for name in _COUNTS) > most or interval.inferences + inferences > most:
        return f"more than {MAX_PER_S:.0f} inferences a second"
    if sum(interval.refused.values()) > most:
        return f"more than {MAX_PER_S:.0f} refused requests a second"
    if any(count > MAX_NUMBERS_PER_S * seconds for count in _numbers(interval)):
        return f"more than {MAX_NUMBERS_PER_S:.0f} rows, answers or cells a second"
    return ""


def _numbers(interval: ModelInterval) -> Iterator[int]:
    yield interval.rows
    yield sum(interval.predictions.values())
    yield sum(interval.outputs)
    yield sum(interval.divergence)
    for by_name in (interval.features, interval.breaches, interval.groups):
        yield from map(sum, by_name.values())


def _impossible_sums(interval: ModelInterval) -> str:
    sums = [
        (interval.measured, getattr(interval, total), getattr(interval, squares), total) for total, squares in _SUMS
    ]
    sums += [(each.count, each.sum, each.squared_sum, f"metric {name!r}") for name, each in interval.metrics.items()]
    for count, total, squares, name in sums:
        # n equal numbers have the largest sum for a given sum of squares (Cauchy and Schwarz)
        largest = math.sqrt(count) * math.sqrt(squares)
        if abs(total) > largest * (1 + _ROUNDING) + _ROUNDING:
            return f"no {count} numbers have both this {name} and this sum of squares"
    return ""
