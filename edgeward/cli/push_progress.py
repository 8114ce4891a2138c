"""The fraction of a push that was sent, for pushes that take more than a few seconds.

Decides when it is printed: from 5 s on, on a screen with each piece, elsewhere a line every 10 s. The clock is handed
in. Refuses to know how bytes are sent.
"""

from collections.abc import Callable

from edgeward.cli.render import size

QUIET_S = 5.0
"""Seconds. A shorter push prints nothing."""
LINE_S = 10.0
"""Seconds between two lines of a log."""


class PushProgress:
    """Prints the fraction of one push. `show` redraws on a screen; `line` prints a line elsewhere."""

    def __init__(
        self, file: str, clock: Callable[[], float], *, show: Callable[[str], None] | None, line: Callable[[str], None]
    ) -> None:
        self._file = file
        self._clock = clock
        self._show = show
        self._line = line
        self._began = clock()
        self._said_at = float("-inf")
        self._is_whole = False

    def sent(self, sent_bytes: int, total_bytes: int) -> None:
        """Notes bytes that were sent."""
        now = self._clock()
        if self._is_whole or now - self._began < QUIET_S:
            return
        self._is_whole = sent_bytes >= total_bytes
        words = f"sending {self._file}: {sent_bytes * 100 // max(total_bytes, 1)} % of {size(total_bytes)}"
        if self._is_whole:
            words = f"sent {size(total_bytes)}; {self.converting}"
        if self._show is not None:
            self._show(words)
        elif self._is_whole or now - self._said_at >= LINE_S:
            self._line(words)
            self._said_at = now

    @property
    def converting(self) -> str:
        """Prints what the controller does once it has all bytes."""
        return f"converting {self._file}: parity, golden set, limits"
