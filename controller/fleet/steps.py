"""Work on a whole fleet in steps, so that a controller can answer other requests in between.

Decides how many devices are one step. Refuses to know what runs in between: a generator yields after each step.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

STEP = 2_000
"""Devices of one step: 5 to 20 ms."""

T = TypeVar("T")
Steps = Generator[None, None, T]


def strides(items: Iterable[T]) -> Iterator[list[T]]:
    """Yields the items in groups. They are copied first, because the fleet may change between two steps."""
    kept = list(items)
    for start in range(0, len(kept), STEP):
        yield kept[start : start + STEP]


def at_once(work: Steps[T]) -> T:
    """Returns the result of all steps, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            result: T = ended.value
            return result
