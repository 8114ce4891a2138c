"""Virtual time: a heap of (time, sequence, callback). No wall clock, no threads; ties go by order of arrival."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, cast

Callback = Callable[..., object]


class Clock:
    """Seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callback, tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, when: float, callback: Callback, *arguments: Any) -> None:
        """Call at `when`, or now if that is past."""
        self._sequence += 1
        heappush(self._heap, (when if when > self.now else self.now, self._sequence, callback, arguments))

    def after(self, delay_s: float, callback: Callback, *arguments: Any) -> None:
        """Call `delay_s` from now."""
        self.at(self.now + delay_s, callback, *arguments)

    def run(self, until: float) -> None:
        """Let everything up to `until` happen."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, callback, arguments = heappop(heap)
            self.events += 1
            callback(*arguments)
        self.now = max(self.now, until)


def stream(seed: int, name: str) -> Random:
    """A random source of its own for each name: a fault more in one place draws nothing anywhere else."""
    return Random(f"{seed}/{name}")  # noqa: S311 - a simulation


def late_stream(seed: int, name: str) -> Random:
    """The same source, seeded when it is first drawn from: 2.5 kB that most devices of a fleet never need."""
    return cast("Random", _Late(lambda: stream(seed, name)))


class _Late:
    def __init__(self, begin: Callable[[], Random]) -> None:
        self._begin = begin
        self._source: Random | None = None

    def __getattr__(self, method: str) -> Any:
        if self._source is None:
            self._source = self._begin()
        return getattr(self._source, method)
