"""The verdict of a gate."""

from contract.wire import Message


class GateVerdict(Message, frozen=True):
    """The verdict of one gate on one version, with the numbers behind it."""

    gate: str
    passed: bool
    detail: str
