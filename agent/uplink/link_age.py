"""How a link has lasted lately: how long to wait before the next connection, and before captured rows are sent.

Decides from how long connections lived. Pure: refuses to know clocks, randomness and sockets.
"""

import math

SHORT_LIVED_S = 30.0
"""A connection that lived less was cut: a healthy one lives for hours."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 16.0
"""Between two short-lived connections. Each of them costs some 10 kB of handshake and documents before anything moves;
a transfer that moves on short-lived connections alone must still come to its end."""
SETTLES_S = 2.0
"""Of a new connection, in which documents come and a transfer may begin; captured rows wait."""
SETTLES_AFTER_CUT_S = 15.0
"""The same after a short-lived connection."""


class Pauses:
    """Pauses between connections: doubled while connections are short-lived."""

    def __init__(self) -> None:
        self._pause_s = 0.0

    def after(self, lived_s: float, spread: float) -> float:
        """Seconds to wait after a connection that lived `lived_s`; 0 for one that was refused.

        `spread`: a random number in [0, 1), so that the devices of a broker that has ended do not all return at once.
        """
        if lived_s >= SHORT_LIVED_S or not self._pause_s:
            self._pause_s = FIRST_PAUSE_S
        else:
            self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
        return self._pause_s * (0.5 + 0.5 * spread)


class Settling:
    """When a link has settled, in the seconds of `now`; infinity while it is down."""

    def __init__(self) -> None:
        self._up_at = 0.0
        self._settles_s = SETTLES_S
        self.settled_at = math.inf

    def link_up(self, now: float) -> None:
        """Begins to count."""
        self._up_at = now
        self.settled_at = now + self._settles_s

    def link_down(self, now: float) -> None:
        """Expects more of the next connection if this one was short-lived."""
        self._settles_s = SETTLES_AFTER_CUT_S if now - self._up_at < SHORT_LIVED_S else SETTLES_S
        self.settled_at = math.inf
