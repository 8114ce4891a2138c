"""Estimates from the hours in which a device sent messages how long it is usually offline, and when it may return.

Decides what an absence is, and which past ones are similar: those that began at about this hour of the week, else
all that lasted at least as long as this one. Refuses to know rollouts and where rows are kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

from contract.wire import Message

MIN_ABSENCE_S = 1_800.0
"""Shorter gaps are lost messages and restarts. Rows older than a day are hours, and show gaps of an hour and more."""
HOUR_S, WEEK_H = 3_600.0, 168
NEAR_H = 2
"""Hours of the week by which two absences may begin apart and count as the same habit."""
MIN_ALIKE, MIN_ANY = 2, 3
"""The fewest past absences for a range: of the same hour of the week (five weeks have five at most), and of any
hour.
"""
LOW, HIGH = 0.1, 0.9
"""The quantiles of a range."""


class Absence(NamedTuple):
    """A time in which a device sent nothing."""

    began: float
    """Seconds since 1970."""
    lasted_s: float


class Return(Message, frozen=True):
    """The seconds until a device may return: from the 10 % quantile of its past absences to the 90 % quantile."""

    low_s: float
    high_s: float


def absences(heard: Sequence[tuple[float, float]]) -> list[Absence]:
    """Returns the absences between (start, seconds) in which a device sent messages, oldest first."""
    found, until = [], None
    for start, span_s in heard:
        if until is not None and start - until >= MIN_ABSENCE_S:
            found.append(Absence(until, start - until))
        until = max(start + span_s, until or 0.0)
    return found


def return_of(past: Sequence[Absence], away_since: float, now: float) -> Return | None:
    """Returns when a device that is offline since `since` may return; None if too little is known.

    Both times are seconds since 1970. Only absences that lasted longer than the present one are used.
    """
    away_s = max(0.0, now - away_since)
    longer = [each for each in past if each.lasted_s > away_s]
    alike = [each for each in longer if _hours_apart(each.began, away_since) <= NEAR_H]
    chosen = alike if len(alike) >= MIN_ALIKE else longer if len(longer) >= MIN_ANY else []
    if not chosen:
        return None
    left = sorted(each.lasted_s - away_s for each in chosen)
    return Return(left[round(LOW * (len(left) - 1))], left[round(HIGH * (len(left) - 1))])


def _hours_apart(one: float, other: float) -> float:
    """Returns the distance of two moments within the week, in hours."""
    apart = abs(one - other) / HOUR_S % WEEK_H
    return min(apart, WEEK_H - apart)
