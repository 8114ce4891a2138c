"""Token buckets: how often a caller may call. Time is handed in; the number of buckets is bounded."""

from collections import OrderedDict
from dataclasses import dataclass, field

MAX_BUCKETS = 10_000
"""Callers with a bucket of their own; beyond it the one that called longest ago starts with a full bucket."""


@dataclass
class Limiter:
    """A bucket for each caller: `burst` calls at once, `per_s` in the long run."""

    per_s: float
    burst: float
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, caller: str, now: float) -> bool:
        """Takes one from the caller's bucket, if there is one."""
        left = self._left(caller, now)
        self._buckets[caller] = (max(0.0, left - 1.0), now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return left >= 1.0

    def spent(self, caller: str, now: float) -> bool:
        """Whether nothing is left, without taking anything."""
        return self._left(caller, now) < 1.0

    def _left(self, caller: str, now: float) -> float:
        left, at = self._buckets.get(caller, (self.burst, now))
        return min(self.burst, left + (now - at) * self.per_s)
