"""Virtual time: a heap of (time, sequence, callback). No wall clock, no threads; ties go by order of arrival."""

import heapq
from collections.abc import Callable
from random import Random

Callback = Callable[[], None]


class Clock:
    """Seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callback]] = []
        self._sequence = 0

    def at(self, when: float, callback: Callback) -> None:
        """Call at `when`, or now if that is past."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(when, self.now), self._sequence, callback))

    def after(self, delay_s: float, callback: Callback) -> None:
        """Call `delay_s` from now."""
        self.at(self.now + delay_s, callback)

    def run(self, until: float) -> None:
        """Let everything up to `until` happen."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, callback = heapq.heappop(heap)
            self.events += 1
            callback()
        self.now = max(self.now, until)


def stream(seed: int, name: str) -> Random:
    """A random source of its own for each name: a fault more in one place draws nothing anywhere else."""
    return Random(f"{seed}/{name}")  # noqa: S311 - a simulation
