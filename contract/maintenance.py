"""Maintenance hours: the hours in which a device may change the version that serves, by its own wall clock.

Decides what "mon-fri 02:00-04:00" means, and how long it is until the next hours begin. Hours are compared with the
device's local wall clock. In spring, hours that the clock skips do not occur, and hours that are skipped entirely begin
on the next named day. In autumn, hours that the clock repeats occur twice. Refuses to know which time zone a device is
in.
"""

import re
from datetime import datetime, timedelta

import msgspec

from contract.errors import BadInput, Code

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?:(?P<days>[a-z,-]+) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")
_DAY_MINUTES = 24 * 60


class MaintenanceHours(msgspec.Struct, frozen=True):
    """Minutes of the day on some days of the week. If `ends` is before `begins`, they end on the next day."""

    days: frozenset[int]
    begins: int
    ends: int

    def holds(self, local: datetime) -> bool:
        """Tells whether the device's wall clock `local` lies within the hours."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        yesterday = (day - 1) % 7
        return (day in self.days and minute >= self.begins) or (yesterday in self.days and minute < self.ends)


def parse_hours(text: str) -> MaintenanceHours:
    """Parses `"02:00-04:00"`, `"sat,sun 22:00-06:00"`, `"mon-fri 01:30-05:00"`. BadInput `strategy_invalid`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise _wrong(text, 'write "mon-fri 02:00-04:00", days may be left out')
    begins, ends = _minute(text, found["from"]), _minute(text, found["to"])
    if begins == ends:
        raise _wrong(text, "it never opens: it ends when it begins")
    return MaintenanceHours(_days(text, found["days"]), begins, ends)


def wait_s(maintenance: tuple[str, ...], local: datetime) -> float:
    """Returns the seconds until maintenance hours begin; 0 within them, or without any.

    `local` is the device's wall clock.
    """
    parsed = [parse_hours(hours) for hours in maintenance]
    if not parsed or any(hours.holds(local) for hours in parsed):
        return 0.0
    begun = local.replace(second=0, microsecond=0)
    for minute in range(1, 8 * _DAY_MINUTES):
        later = begun + timedelta(minutes=minute)
        if any(hours.holds(later) for hours in parsed):
            return (later - local).total_seconds()
    raise AssertionError("maintenance hours begin within a week")


def _days(text: str, given: str | None) -> frozenset[int]:
    if given is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in given.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise _wrong(text, f"days are {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(days)


def _minute(text: str, clock: str) -> int:
    hour, minute = int(clock[:2]), int(clock[3:])
    if hour > 23 or minute > 59:
        raise _wrong(text, f"{clock} is no time of day")
    return hour * 60 + minute


def _wrong(text: str, words: str) -> BadInput:
    return BadInput(Code.STRATEGY_INVALID, f"maintenance hours {text[:40]!r}: {words}")
