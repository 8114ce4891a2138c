"""The counts that a device can have made by the controller's own clock: a device claims the time of its counts itself.

Decides by a token bucket in seconds: a device has as many as have passed here, and its counts take as many as they
would at the highest rate that any device reaches. Refuses to know which counts are shown.
"""

import msgspec

from contract.messages import ModelInterval
from controller.fleet.believable import MAX_NUMBERS_PER_S, MAX_PER_S

FIRST_S = 3600.0
"""Seconds that a device has at the start and at most: its telemetry waits while it has no link, and arrives at once. At
the highest rate these are 3.6e9 inferences, which is a year of a hundred a second."""
_COUNTS = ("inferences", "labelled", "compared", "refused_alone", "labels_unusable", "labels_unknown")


def least_s(interval: ModelInterval) -> float:
    """Returns the seconds without which no device could count so much."""
    counted: int = max([getattr(interval, name) for name in _COUNTS])
    if interval.refused:
        counted = max(counted, sum(interval.refused.values()))
    numbers = max(interval.rows, sum(interval.predictions.values()))
    return max(counted / MAX_PER_S, numbers / MAX_NUMBERS_PER_S)


class Credit(msgspec.Struct, frozen=True):
    """The seconds that a device has left, as of a moment in seconds since 1970."""

    at: float
    left_s: float = FIRST_S

    def then(self, now: float) -> "Credit":
        """Returns the credit at a later moment. A clock that was set back adds nothing."""
        return Credit(now, min(FIRST_S, self.left_s + max(0.0, now - self.at)))

    def spend(self, seconds: float) -> "Credit | None":
        """Returns what is left after counts that take so long; None if they take longer."""
        return Credit(self.at, self.left_s - seconds) if seconds <= self.left_s else None
