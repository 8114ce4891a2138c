"""The bytes that a device receives from one telemetry message to the next, and the versions that answered last.

Refuses to know the content of the bytes, and whether the answers were good enough.
"""

from collections.abc import Mapping

import msgspec

from contract.messages import ModelInterval, Telemetry


class Traffic(msgspec.Struct, frozen=True):
    """The newest telemetry of a device, when it came, and the rate in bytes per second before it."""

    newest: Telemetry
    at: float
    bytes_s: float = 0.0
    answered: Mapping[str, tuple[ModelInterval, ...]] = {}
    """The versions of each model in the newest telemetry with inferences: telemetry without inferences does not
    change them.
    """

    @classmethod
    def begin(cls, message: Telemetry, now: float) -> "Traffic":
        """Returns the traffic of a device after its first message."""
        return cls(message, now, 0.0, _answered(message))

    def then(self, message: Telemetry, now: float) -> "Traffic":
        """Returns the traffic after the next message. Counters start at zero at each boot."""
        received = message.bytes_received
        if message.boot == self.newest.boot:
            received -= self.newest.bytes_received
        passed_s = max(message.interval_s, now - self.at)
        bytes_s = max(0, received) / passed_s if passed_s > 0 else 0.0
        return Traffic(message, now, bytes_s, {**self.answered, **_answered(message)})


def _answered(message: Telemetry) -> dict[str, tuple[ModelInterval, ...]]:
    found: dict[str, tuple[ModelInterval, ...]] = {}
    for each in message.intervals:
        if each.inferences:
            found[each.model] = (*found.get(each.model, ()), each)
    return found
