"""Version numbers of signed documents: each is higher than the one before it, and than those of a backup.

Decides the next number: one more, or the seconds since 1970 if those are more. After a restore from yesterday's backup,
the clock alone gives numbers above all that were signed since. Roots are not numbered so: a device follows every one of
them. Refuses to know the clock.
"""

MAX_VERSION = 2**53
"""Largest version and generation: every reader of JSON holds it exactly. Seconds since 1970 take 285 million years."""


def next_version(previous: int, now_s: float) -> int:
    """The version that follows `previous` at `now_s` seconds since 1970. ValueError past `MAX_VERSION`."""
    found = max(previous + 1, int(now_s))
    if found > MAX_VERSION:
        raise ValueError(f"version {found}: the largest is {MAX_VERSION}")
    return found
