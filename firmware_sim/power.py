"""A power supply that can fail: it counts the operations on flash and cuts the power where a plan says.

Decides when power fails. Refuses to know what is lost then: `flash.py` decides that.
"""

from collections.abc import Callable
from random import Random


class PowerCut(BaseException):
    """The power has failed. It is no Exception, so that no `except Exception` of the device's code can catch it."""


class ProcessKilled(BaseException):
    """The agent's process has ended, killed by the kernel or by its own fault; flash keeps what was written."""


Plan = Callable[[int], bool]
"""Returns whether power fails at an operation that changes flash, given the operation's number, from 1."""


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
    """A plan like a loose cable: after a random cut each of the next `length` operations fails with probability 0.5."""
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
        """Counts one operation; True if power fails during it."""
        self.operations += 1
        if self.plan(self.operations):
            self.cuts += 1
            return True
        return False
