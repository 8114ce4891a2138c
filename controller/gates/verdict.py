"""The verdict of a gate, with its evidence, what it is able to catch, what to do, and who has waived it."""

from contract.wire import Message


class Waiver(Message, frozen=True):
    """Who lets a version pass although a gate has failed, when, and why."""

    by: str
    at: str
    reason: str


class GateVerdict(Message, frozen=True):
    """The verdict of one gate on one version, with the numbers behind it."""

    gate: str
    passed: bool
    detail: str
    evidence: dict[str, float] = {}
    """The numbers by name, in the units that the names end in."""
    power: str = ""
    """What the gate would catch, and how surely; empty where the verdict does not depend on chance."""
    remedy: str = ""
    """What to do about a failure."""
    judged_by: str = "controller"
    """`controller`, or who has run a gate of the user's own."""
    waiver: Waiver | None = None
    """Set on reading, where somebody has waived this verdict."""
