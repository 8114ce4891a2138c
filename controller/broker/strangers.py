"""Recent messages in a device's name that the device has not signed: for health.

Decides for how long a message counts and how many names are kept. Refuses to know why a message is not authentic.
"""

LATELY_S = 300.0
"""Seconds for which a message counts: a copy without the device's key sends a heartbeat in every minute of them."""
MAX_NAMES = 100
"""The most names that are kept, the newest: a client that may write to every topic may use any name."""


class Strangers:
    """By device, how many messages in its name were not its own, and when the newest came, in seconds since 1970."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}

    def note(self, device: str, now: float) -> None:
        """Notes one message."""
        count, at = self._known.pop(device, (0, 0.0))
        self._known[device] = (count + 1 if now - at <= LATELY_S else 1, now)
        if len(self._known) > MAX_NAMES:
            del self._known[next(iter(self._known))]

    def told(self, now: float) -> dict[str, str]:
        """Returns by device its recent messages in words."""
        return {
            device: f"{count} messages, the newest {now - at:.0f} s ago"
            for device, (count, at) in self._known.items()
            if now - at <= LATELY_S
        }
