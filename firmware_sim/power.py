"""Power that can fail: counts operations on flash and cuts where a plan says.

Decides when. Refuses to know what is lost: that is flash.
"""

from collections.abc import Callable
from random import Random


class PowerCut(BaseException):
    """The supply is gone. Not an Exception: no handler of the device may survive it."""


class ProcessKilled(BaseException):
    """The agent's process is gone, by the kernel or by its own fault; flash keeps what was written."""


Plan = Callable[[int], bool]
"""Says for the running number of a mutating operation (from 1) whether power fails at it."""


def never() -> Plan:
    """A power supply that never fails."""
    return lambda operation: False


def at(*operations: int) -> Plan:
    """A plan that cuts at these operations, counted over the whole life of the device."""
    planned = frozenset(operations)
    return lambda operation: operation in planned


def at_random(probability: float, rng: Random) -> Plan:
    """A plan that cuts at any operation with this probability, during recovery too."""
    return lambda operation: rng.random() < probability


def in_bursts(probability: float, length: int, rng: Random) -> Plan:
    """A plan like a loose contact: after a random cut each of the next `length` operations fails one time in two."""
    left = 0

    def fails(operation: int) -> bool:
        nonlocal left
        chance = 0.5 if left else probability
        left = max(0, left - 1)
        if rng.random() >= chance:
            return False
        left = left or length
        return True

    return fails


class Power:
    """The power supply of one device."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or never()
        self.operations = 0
        self.cuts = 0

    def draw(self) -> bool:
        """Counts one operation. True if power fails during it."""
        self.operations += 1
        if self.plan(self.operations):
            self.cuts += 1
            return True
        return False
