"""Counts and times in words, for sentences about rollouts.

Decides the unit of a time and the number of a noun. Refuses to know what is counted.
"""

_UNITS = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0))


def span(seconds: float) -> str:
    """Returns a duration in a suitable unit: `30 s`, `12 min`, `1.5 h`, `3 d`."""
    for unit, length_s in _UNITS:
        if seconds >= 1.5 * length_s:
            return f"{seconds / length_s:.2g} {unit}" if seconds < 10 * length_s else f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"


def devices_of(count: int) -> str:
    """A number of devices: `1 device`, `2 devices`."""
    return f"{count} device" if count == 1 else f"{count} devices"


def devices_have(count: int) -> str:
    """Returns a number of devices followed by `has` or `have`."""
    return f"{devices_of(count)} {'has' if count == 1 else 'have'}"
