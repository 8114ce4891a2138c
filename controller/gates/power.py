"""Computes what a gate detects with a number of rows: the power of each verdict.

Decides the confidence, 95 %. Refuses to know which gate calls. Methods: the exact binomial bound of Clopper and Pearson
(1934) for counts, the normal approximation for means and differences.
"""

import math

CONFIDENCE = 0.95
Z = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


def detectable_rate(rows: int, allowed: int) -> float:
    """Returns the smallest rate of bad rows at which more than `allowed` of `rows` are bad with 95 %; 1.0
    without rows.
    """
    if rows <= allowed:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _at_most(allowed, rows, middle) <= 1 - CONFIDENCE else (middle, high)
    return high


def margin(deviation: float, rows: int) -> float:
    """Returns how far beyond its limit a true mean must lie to be detected with 95 %; infinite without rows.

    `deviation` is the standard deviation of the single values.
    """
    return Z * deviation / math.sqrt(rows) if rows else math.inf


def _at_most(allowed: int, rows: int, rate: float) -> float:
    """The probability of at most `allowed` bad rows."""
    if rate in (0.0, 1.0):
        return 1.0 - rate
    logs = (
        math.lgamma(rows + 1) - math.lgamma(bad + 1) - math.lgamma(rows - bad + 1)
        + bad * math.log(rate) + (rows - bad) * math.log1p(-rate)
        for bad in range(allowed + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logs))
