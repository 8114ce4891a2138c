"""A device's clock beside the controller's: how far it is off, told from heartbeats that may have been late.

Decides from when heartbeats came and when they were said. A message that has waited (in a client, in a broker, on a
stick) makes a clock look slow, never fast. So a clock is behind by what its most punctual heartbeat says, not by what
the newest says: the least delay of many, as NTP's clock filter takes it (RFC 5905, section 10). Refuses to know what
heartbeats say beside the time.
"""

import msgspec

LIVE_S = 5.0
"""Two heartbeats that came further apart than this did not wait together: those that did come within a second."""
STRETCH_S = 600.0
"""The most punctual heartbeat counts for one to two stretches: a clock that is set back is seen after them."""


class DeviceClock(msgspec.Struct, frozen=True):
    """What the heartbeats of one start of the agent say about its clock. Times are seconds since 1970."""

    boot: int
    came: float
    """When the newest heartbeat came, by the controller's clock."""
    said: float
    """When it was said, by the device's."""
    off_s: float
    """How far the clock is ahead, below 0 behind; 0 for unknown."""
    best_s: float
    """The most that a heartbeat of this stretch was ahead: that of the most punctual one."""
    best_before_s: float
    """The same of the stretch before."""
    since: float
    """When this stretch began."""


def hear_clock(known: DeviceClock | None, boot: int, came: float, said: float) -> DeviceClock:
    """Returns what is known with one more heartbeat. One that is ahead is believed at once.

    A slow clock is believed only where two heartbeats show that it runs beside this one: what has waited comes at once.
    """
    newest_s = said - came
    if known is None or known.boot != boot:
        return DeviceClock(boot, came, said, max(newest_s, 0.0), newest_s, newest_s, came)
    best_s, before_s, since = max(known.best_s, newest_s), known.best_before_s, known.since
    if came - since >= STRETCH_S:
        best_s, before_s, since = newest_s, known.best_s, came
    passed_s, said_s = came - known.came, said - known.said
    live = passed_s >= LIVE_S and abs(passed_s - said_s) <= LIVE_S
    behind_s = min(max(best_s, before_s), 0.0) if live else 0.0
    return DeviceClock(boot, came, said, newest_s if newest_s >= 0 else behind_s, best_s, before_s, since)
