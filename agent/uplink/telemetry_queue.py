"""Telemetry that waits for the link: a bounded queue that drops its oldest entry and counts the drops.

Decides which intervals are kept. Refuses to know what is measured or how it is sent.
"""

from collections import Counter, deque
from collections.abc import Iterator

from contract.messages import Telemetry

MAX_QUEUED = 120
"""Intervals that are kept while offline: an hour at the default interval of 30 s."""


class TelemetryQueue:
    """A queue, first in, first out. A full queue drops its oldest entry."""

    def __init__(self, dropped: Counter[str], limit: int = MAX_QUEUED) -> None:
        self._queue: deque[Telemetry] = deque()
        self._dropped = dropped
        self._limit = limit

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Telemetry) -> None:
        """Adds one interval."""
        if len(self._queue) == self._limit:
            self._queue.popleft()
            self._dropped["telemetry"] += 1
        self._queue.append(message)

    def drain(self) -> Iterator[Telemetry]:
        """Removes and yields all entries, oldest first."""
        while self._queue:
            yield self._queue.popleft()
