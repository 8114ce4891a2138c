"""Named limits of the update machine. Each bounds a loop that a bad link, disk or model could otherwise keep going."""

MAX_FETCH_ATTEMPTS = 6
"""Fetches of one generation before it is rejected; only a higher generation tries again."""

BACKOFF_FIRST_S = 1.0
BACKOFF_CAP_S = 60.0

PROBE_GRACE_S = 30.0
"""Added to a manifest's load limit before a probe that never answered counts as broken."""

FALSE_ALARM = 0.001
"""Chance that a device ever rolls back a trial that is as good as it should be, however often it judges: of each test,
for errors, refusals, latency, accuracy and the size of errors."""

MIN_STABLE_INFERENCES = 10
"""Of stable, for its errors and latency to be a yardstick: of fewer nobody knows whether it fails as much."""


def backoff_s(attempt: int, spread: float = 0.0) -> float:
    """Returns seconds to wait after failed attempt `attempt` (from 0): doubling, capped, up to half more by `spread`
    from 0 to 1, which is each device's own.
    """
    return float(min(BACKOFF_FIRST_S * 2.0**attempt, BACKOFF_CAP_S)) * (1 + spread / 2)


ENCODINGS = ("segments-1",)
"""Encodings of an artifact that this device can decode (contract.encoding)."""
