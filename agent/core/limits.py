"""Named limits of the update machine. Each limits a loop that a bad link, disk or model could otherwise repeat
forever.
"""

MAX_FETCH_ATTEMPTS = 6
"""Fetches of one generation before it is rejected; only a higher generation tries again."""

BACKOFF_FIRST_S = 1.0
BACKOFF_CAP_S = 60.0

PROBE_GRACE_S = 30.0
"""Seconds added to a manifest's load limit. A probe without an answer after this time counts as broken."""

FALSE_ALARM = 0.001
"""The probability that a device ever rolls back a healthy trial, for any number of judgements. It
holds for each test: of errors, refusals, latency, accuracy and the size of errors."""

MIN_STABLE_INFERENCES = 10
"""The fewest inferences of stable with which a trial's errors and latency are compared: fewer do not describe stable
well enough.
"""


def backoff_s(attempt: int, spread: float = 0.0) -> float:
    """Returns the seconds to wait after failed attempt `attempt` (from 0): doubled each time, capped, and up to
    half longer by `spread`, each device's own number in [0, 1).
    """
    return float(min(BACKOFF_FIRST_S * 2.0**attempt, BACKOFF_CAP_S)) * (1 + spread / 2)


ENCODINGS = ("segments-1",)
"""Encodings of an artifact that this device can decode (contract.encoding)."""
