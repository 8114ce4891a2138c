"""The bytes that a device receives, from one telemetry message to the next. Refuses to know what the bytes were."""

import msgspec

from contract.messages import Telemetry


class Traffic(msgspec.Struct, frozen=True):
    """The newest telemetry of a device, when it came, and the rate in bytes per second before it."""

    newest: Telemetry
    at: float
    bytes_s: float = 0.0

    def repeats(self, message: Telemetry) -> bool:
        """Whether the newest message has come again, as QoS 1 allows: what it counts is counted already."""
        return (message.boot, message.seq) == (self.newest.boot, self.newest.seq)

    def then(self, message: Telemetry, now: float) -> "Traffic":
        """Returns the traffic after the next message. Counters start at zero at each boot."""
        received = message.bytes_received
        if message.boot == self.newest.boot:
            received -= self.newest.bytes_received
        passed_s = max(message.interval_s, now - self.at)
        return Traffic(message, now, max(0, received) / passed_s if passed_s > 0 else 0.0)
