"""How long the recent connections of a link lasted, and what follows for the next connection and for captured rows.

Decides how long to wait before the next connection, and when captured rows may be sent. Pure: refuses to know clocks,
randomness and sockets.
"""

import math

SHORT_LIVED_S = 30.0
"""A connection that ended sooner counts as cut: a healthy one lasts for hours."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 16.0
"""The longest pause between two short-lived connections. Each of them costs about 10 kB of handshake and documents
before a transfer continues; a transfer over many short-lived connections must still finish."""
SETTLES_S = 2.0
"""The first seconds of a new connection, in which documents arrive and a transfer may begin. Captured rows wait."""
SETTLES_AFTER_CUT_S = 15.0
"""The first seconds of a connection after a short-lived one."""


class Pauses:
    """Pauses between connections: doubled while connections are short-lived."""

    def __init__(self) -> None:
        self._pause_s = 0.0

    def after(self, lived_s: float, spread: float) -> float:
        """Returns the seconds to wait after a connection that lasted `lived_s` seconds; 0 means that it was refused.

        `spread`: a random number in [0, 1), so that devices do not all return at once after their broker was down.
        """
        if lived_s >= SHORT_LIVED_S or not self._pause_s:
            self._pause_s = FIRST_PAUSE_S
        else:
            self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
        return self._pause_s * (0.5 + 0.5 * spread)


class Settling:
    """When a link has settled, on the clock of `now`; infinity while the link is down."""

    def __init__(self) -> None:
        self._up_at = 0.0
        self._settles_s = SETTLES_S
        self.settled_at = math.inf

    def link_up(self, now: float) -> None:
        """Notes that the link came up at `now`."""
        self._up_at = now
        self.settled_at = now + self._settles_s

    def link_down(self, now: float) -> None:
        """Notes that the link went down; after a short-lived connection the next one takes longer to settle."""
        self._settles_s = SETTLES_AFTER_CUT_S if now - self._up_at < SHORT_LIVED_S else SETTLES_S
        self.settled_at = math.inf
