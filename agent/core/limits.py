"""Named limits of the update machine. Each bounds a loop that a bad link, disk or model could otherwise keep going."""

MAX_FETCH_ATTEMPTS = 6
"""Fetches of one generation before it is rejected; only a higher generation tries again."""

BACKOFF_FIRST_S = 1.0
BACKOFF_CAP_S = 60.0

PROBE_GRACE_S = 30.0
"""Added to a manifest's load limit before a probe that never answered counts as broken."""

EVIDENCE_Z = 3.0
"""Standard errors that an accuracy drop must exceed, beyond the allowed drop being exceeded.

A trial is looked at after every few inferences; at 3 standard errors even hundreds of looks rarely convict chance.
"""


def backoff_s(attempt: int) -> float:
    """Seconds to wait after the failed attempt number `attempt` (from 0): doubling, capped."""
    return float(min(BACKOFF_FIRST_S * 2.0**attempt, BACKOFF_CAP_S))
