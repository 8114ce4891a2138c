"""Messages in a device's name that it has not signed, lately: for health.

Decides for how long one counts and how many names are kept. Refuses to know why a message is not authentic.
"""

LATELY_S = 300.0
"""A message counts for as long: a copy without its key sends a heartbeat in every minute of it."""
MAX_NAMES = 100
"""Names that are kept, the newest: whoever may write to every topic may write in any name."""


class Strangers:
    """By device, how many messages were not its own and when the newest came, in seconds since 1970."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}

    def note(self, device: str, now: float) -> None:
        """Notes one message."""
        count, at = self._known.pop(device, (0, 0.0))
        self._known[device] = (count + 1 if now - at <= LATELY_S else 1, now)
        if len(self._known) > MAX_NAMES:
            del self._known[next(iter(self._known))]

    def told(self, now: float) -> dict[str, str]:
        """By device, its messages in words; of those that came lately."""
        return {
            device: f"{count} messages, the newest {now - at:.0f} s ago"
            for device, (count, at) in self._known.items()
            if now - at <= LATELY_S
        }
