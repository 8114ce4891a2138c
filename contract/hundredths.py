"""Writes fractions as people read changes: in hundredths, with their sign. Refuses to know their unit."""


def signed_hundredths(ratio: float) -> str:
    """Returns `+4.1` for 0.041; a value that rounds to zero gives `+0.0`, with either sign."""
    return f"{round(100 * ratio, 1) + 0.0:+.1f}"  # adding 0.0 turns -0.0 into +0.0


def signed_interval(value: float, low: float, high: float) -> str:
    """Returns an estimate with its interval: `+4.1 [+2.0, +6.2]`."""
    return f"{signed_hundredths(value)} [{signed_hundredths(low)}, {signed_hundredths(high)}]"
