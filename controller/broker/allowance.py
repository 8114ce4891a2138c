"""The number of bytes that each device may send: a token bucket, checked before anything is decoded.

Decides which device is throttled. A device that sends too much loses only its own messages. Refuses to know messages.
"""

from contract.stick import MAX_MESSAGES_BYTES

BURST_BYTES = 2 * MAX_MESSAGES_BYTES
"""Bytes that a device may send at once: all messages that it has kept for a stick (with `OVERHEAD_BYTES` for each), or
during a night without a link."""
BYTES_PER_S = 64 * 1024
"""Bytes a second that a device may send permanently: fifty times the telemetry of sixteen models every ten seconds."""
OVERHEAD_BYTES = 512
"""Bytes that a message costs in addition to its length: a decoded heartbeat of any length takes this much memory."""
MAX_BUCKETS = 20_000
"""The number of devices with a bucket. Above this limit, full buckets are dropped, which changes no decision."""


class Allowance:
    """A bucket for each device that has sent a message recently."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        """The (bytes that were left, the time in seconds of that) by device."""

    def spend(self, device: str, size_bytes: int, now: float) -> bool:
        """Tells whether the device may send this many bytes now. If so, takes them from its bucket.

        `now` is in seconds.
        """
        left = self._left_of(device, now) - size_bytes - OVERHEAD_BYTES
        if left < 0:
            return False
        self._left[device] = (left, now)
        if len(self._left) > MAX_BUCKETS:
            self._left = {name: known for name, known in self._left.items() if self._left_of(name, now) < BURST_BYTES}
        return True

    def _left_of(self, device: str, now: float) -> float:
        left, at = self._left.get(device, (float(BURST_BYTES), now))
        return min(float(BURST_BYTES), left + max(0.0, now - at) * BYTES_PER_S)
