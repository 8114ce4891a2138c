"""Virtual time: callbacks by (time, sequence). No wall clock and no threads; at equal times, callbacks run in order of
arrival.

Distant callbacks wait unordered, by the second in which they are due; only the callbacks of the present second are a
heap. A single heap with a hundred thousand entries would read cold memory at every step, which is a tenth of a fleet's
cost.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, cast

Callback = Callable[..., object]
Entry = tuple[float, int, Callback, tuple[Any, ...]]


class Clock:
    """Seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._second = 0
        """The number of the present second. Callbacks due in it or before it are in `_near`."""
        self._near: list[Entry] = []
        self._far: dict[int, list[Entry]] = {}
        self._seconds: list[int] = []
        """The keys of `_far`, as a heap."""
        self._sequence = 0

    def at(self, when: float, callback: Callback, *arguments: Any) -> None:
        """Schedules a call at `when`, or now if that is past."""
        self._sequence += 1
        entry = (when if when > self.now else self.now, self._sequence, callback, arguments)
        if (second := int(when)) <= self._second:
            heappush(self._near, entry)
        elif (waiting := self._far.get(second)) is not None:
            waiting.append(entry)
        else:
            self._far[second] = [entry]
            heappush(self._seconds, second)

    def after(self, delay_s: float, callback: Callback, *arguments: Any) -> None:
        """Schedules a call `delay_s` from now."""
        self.at(self.now + delay_s, callback, *arguments)

    def run(self, until: float) -> None:
        """Runs every callback that is due up to `until`."""
        while self._turn_to(until):
            near = self._near
            while near and near[0][0] <= until:
                self.now, _, callback, arguments = heappop(near)
                self.events += 1
                callback(*arguments)
            if near:
                break
        self.now = max(self.now, until)

    def _turn_to(self, until: float) -> bool:
        """Makes the next second with due callbacks the present one. Returns False if none is due by `until`."""
        if self._near:
            return True
        if not self._seconds or self._seconds[0] > until:
            return False
        self._second = heappop(self._seconds)
        self._near = self._far.pop(self._second)
        self._near.sort()  # no two have the same sequence, so callbacks are never compared
        return True


def stream(seed: int, name: str) -> Random:
    """Returns a separate random source for each name, so that a new fault in one place changes no draw in another
    place.
    """
    return Random(f"{seed}/{name}")  # noqa: S311 - a simulation


def late_stream(seed: int, name: str) -> Random:
    """Returns the same source, seeded at its first draw: it takes 2.5 kB, which most devices of a fleet never need."""
    return cast("Random", _Late(lambda: stream(seed, name)))


class _Late:
    def __init__(self, begin: Callable[[], Random]) -> None:
        self._begin = begin
        self._source: Random | None = None

    def __getattr__(self, method: str) -> Any:
        if self._source is None:
            self._source = self._begin()
        return getattr(self._source, method)
