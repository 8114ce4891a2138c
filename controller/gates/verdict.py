"""The verdict of a gate, with its evidence, its power, its remedy, and its waiver."""

from contract.wire import Message


class Waiver(Message, frozen=True):
    """The person, time and reason of a waiver, by which a version passes although a gate has failed."""

    by: str
    at: str
    reason: str


class GateVerdict(Message, frozen=True):
    """The verdict of one gate on one version, with the numbers behind it."""

    gate: str
    passed: bool
    detail: str
    evidence: dict[str, float] = {}
    """The numbers by name; each name ends in its unit."""
    power: str = ""
    """What the gate detects, and with which probability; empty if the verdict does not depend on chance."""
    remedy: str = ""
    """What to do about a failure."""
    judged_by: str = "controller"
    """`controller`, or the person who ran a gate of the user's own."""
    waiver: Waiver | None = None
    """Set when the verdict is read, if a person has waived it."""
