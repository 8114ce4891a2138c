"""When a scheduled pipeline runs next: an interval, or a time of day in UTC every so many days.

Decides the next time from the last one, and that one run makes up for all missed times. Refuses to know what runs,
and the clock: the time is handed in.
"""

import re
from dataclasses import dataclass

from contract.errors import BadInput, Code

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
DAY_S = 86_400.0
MIN_EVERY_S = 60.0
"""A pipeline that must run more often than each minute is a service, not a schedule."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """`every_s` seconds between runs; with `at_s`, seconds after midnight UTC, every so many days."""

    every_s: float
    at_s: float | None = None

    def next_after(self, last: float | None, now: float) -> float:
        """Returns when to run, in seconds since 1970: not before `now`. `last` None: it has never run."""
        if self.at_s is None:
            return now if last is None else max(last + self.every_s, now)
        today = now // DAY_S * DAY_S + self.at_s
        if last is None:
            return today if today >= now else today + DAY_S
        due = last // DAY_S * DAY_S + self.at_s + (0 if last % DAY_S < self.at_s else self.every_s)
        return max(due, now)


def read_schedule(every: str, at: str = "") -> Schedule:
    """A schedule of texts: `6h`, `30m`, `1d`; at `03:00`. BadInput `config_invalid`."""
    found = re.fullmatch(r"([0-9]+)([mhd])", every)
    if found is None or int(found[1]) * _UNITS_S[found[2]] < MIN_EVERY_S:
        raise BadInput(Code.CONFIG_INVALID, f"every {every!r}: expected minutes, hours or days, as 30m, 6h, 1d")
    every_s = int(found[1]) * _UNITS_S[found[2]]
    if not at:
        return Schedule(every_s)
    time = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", at)
    if time is None or every_s % DAY_S:
        raise BadInput(Code.CONFIG_INVALID, f"at {at!r} every {every}: expected a time as 03:00, every 1d, 7d, ...")
    return Schedule(every_s, int(time[1]) * 3600.0 + int(time[2]) * 60.0)
