"""Fractions as people read them where a change is told: in hundredths, with their sign. Refuses to know their unit."""


def signed_hundredths(ratio: float) -> str:
    """Returns `+4.1` for 0.041; what rounds to nothing is `+0.0` from either side."""
    return f"{round(100 * ratio, 1) + 0.0:+.1f}"  # to add 0.0 makes +0.0 of -0.0


def signed_interval(value: float, low: float, high: float) -> str:
    """Returns an estimate with its interval: `+4.1 [+2.0, +6.2]`."""
    return f"{signed_hundredths(value)} [{signed_hundredths(low)}, {signed_hundredths(high)}]"
