"""Token buckets, which limit how often a caller may call. Time is handed in; the number of buckets is bounded."""

from collections import OrderedDict
from dataclasses import dataclass, field

MAX_BUCKETS = 10_000
"""The most callers with their own bucket. After that, the least recently used bucket is dropped; the next call of
its caller starts with a full bucket.
"""


@dataclass
class Limiter:
    """A bucket for each caller: `burst` calls at once, then `per_s` calls a second. `now` is seconds of one clock."""

    per_s: float
    burst: float
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, caller: str, now: float) -> bool:
        """Takes one call from the caller's bucket. Returns whether the bucket had one."""
        left = self._left(caller, now)
        self._buckets[caller] = (max(0.0, left - 1.0), now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return left >= 1.0

    def spent(self, caller: str, now: float) -> bool:
        """Tells whether the bucket is empty, without taking a call from it."""
        return self._left(caller, now) < 1.0

    def _left(self, caller: str, now: float) -> float:
        left, at = self._buckets.get(caller, (self.burst, now))
        return min(self.burst, left + (now - at) * self.per_s)
