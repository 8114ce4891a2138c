"""How much each device may say: a token bucket in bytes, asked before anything is decoded.

Decides who is throttled. A device that floods costs its own messages and nobody else's. Refuses to know messages.
"""

from contract.stick import MAX_MESSAGES_BYTES

BURST_BYTES = 2 * MAX_MESSAGES_BYTES
"""What a device may say at once: all that it has kept for a stick (with `OVERHEAD_BYTES` for each of its messages), or
through a night without a link."""
BYTES_PER_S = 64 * 1024
"""What it may say for good: fifty times the telemetry of sixteen models every ten seconds."""
OVERHEAD_BYTES = 512
"""What a message costs beside its bytes: a decoded heartbeat takes that much memory however short it was."""
MAX_BUCKETS = 20_000
"""Devices that are kept account of; then those that have said nothing lately are forgotten, which changes nothing."""


class Allowance:
    """A bucket for each device that has spoken lately."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        """device -> (bytes that were left, when)"""

    def spend(self, device: str, size_bytes: int, now: float) -> bool:
        """Whether the device may say so many bytes now; if so, they are spent."""
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
