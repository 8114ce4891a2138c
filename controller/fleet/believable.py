"""Counts of a device that are impossible, such as more errors than inferences.

Decides by arithmetic alone. Improbable counts are accepted as the report of one device. Refuses to know the use of
counts.
"""

import math

from contract.messages import ModelInterval

MAX_PER_S = 1e6
"""Inferences per second that no device reaches: the fastest model here takes three microseconds."""
SHORTEST_S = 1.0
"""A message about a shorter time counts as this long: it may contain counts from before the clock changed."""
_ROUNDING = 1e-6

_PARTS = (("errors", "inferences"), ("correct", "labelled"), ("measured", "labelled"), ("agreed", "compared"))
_SUMS = (("absolute_error_sum", "squared_error_sum"), ("label_sum", "squared_label_sum"))


def why_impossible(interval: ModelInterval, interval_s: float) -> str:
    """Returns in words why the counts of `interval_s` seconds are impossible; empty if they are possible."""
    for part, whole in _PARTS:
        if getattr(interval, part) > getattr(interval, whole):
            return f"{getattr(interval, part)} {part} of {getattr(interval, whole)} {whole}"
    most = MAX_PER_S * max(SHORTEST_S, interval_s)
    if max(interval.inferences, interval.labelled, interval.compared) > most:
        return f"more than {MAX_PER_S:.0f} inferences a second"
    for total, squares in _SUMS:
        # n equal numbers have the largest sum for a given sum of squares (Cauchy and Schwarz)
        largest = math.sqrt(interval.measured) * math.sqrt(getattr(interval, squares))
        if abs(getattr(interval, total)) > largest * (1 + _ROUNDING) + _ROUNDING:
            return f"no {interval.measured} numbers have both this {total} and this {squares}"
    return ""
