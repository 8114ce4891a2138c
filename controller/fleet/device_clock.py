"""The difference between a device's clock and the controller's, estimated from heartbeats that may have been delayed.

Decides from the times at which heartbeats were sent and received. A message that has waited (in a client, in a
broker, on a stick) makes a clock look slow, never fast. Therefore the offset of a clock is that of its least
delayed heartbeat, not of the newest: the least delay of many, as in NTP's clock filter (RFC 5905, section 10).
Refuses to know what else heartbeats say.
"""

import msgspec

LIVE_S = 5.0
"""Seconds. Two heartbeats further apart than this did not wait together: messages that waited together arrive within
a second.
"""
STRETCH_S = 600.0
"""Seconds of one interval. The least delayed heartbeat counts for one to two intervals: a clock that is set back is
noticed after them."""


class DeviceClock(msgspec.Struct, frozen=True):
    """What the heartbeats of one start of the agent tell about its clock. Times are seconds since 1970."""

    boot: int
    came: float
    """When the newest heartbeat came, by the controller's clock."""
    said: float
    """When it was sent, by the device's clock."""
    off_s: float
    """Seconds by which the clock is ahead, below 0 behind; 0 for unknown."""
    best_s: float
    """The largest lead of a heartbeat in this interval: that of the least delayed one."""
    best_before_s: float
    """The largest lead in the interval before."""
    since: float
    """When this interval started."""


def hear_clock(known: DeviceClock | None, boot: int, came: float, said: float) -> DeviceClock:
    """Returns the state after one more heartbeat. A clock that is ahead is accepted at once.

    A slow clock is accepted only if two heartbeats show that it runs at the same rate: messages that waited arrive
    together.
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
