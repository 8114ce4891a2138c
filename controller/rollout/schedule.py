"""When a rollout may offer its release: from a time, until a time, and in hours of the week, all in UTC.

Decides whether offers may be made now and when they may be next. Updates that have begun continue. Refuses to know a
device's own maintenance hours, which devices keep themselves.
"""

from datetime import UTC, datetime

from contract.errors import BadInput, Code
from contract.maintenance import parse_hours, wait_s
from contract.wire import Message
from controller.rollout.words import span

MAX_HOURS = 14
"""The most entries of hours in one schedule: two for each day of the week."""


class Schedule(Message, frozen=True):
    """When offers may be made. An omitted field limits nothing."""

    not_before: float = 0.0
    """Seconds since 1970."""
    not_after: float = 0.0
    """Seconds since 1970; from then on no further device gets an offer. 0: no end."""
    hours: tuple[str, ...] = ()
    """Hours in UTC in which offers are made: `mon-fri 08:00-16:00`."""


ALWAYS = Schedule()


def check_schedule(schedule: Schedule, now: float) -> None:
    """Raises BadInput `strategy_invalid` for invalid hours, or an end that comes before its beginning or has passed."""
    if len(schedule.hours) > MAX_HOURS:
        raise _wrong(f"{len(schedule.hours)} stretches of hours, at most {MAX_HOURS}")
    for hours in schedule.hours:
        parse_hours(hours)
    if schedule.not_after and schedule.not_after <= max(schedule.not_before, now):
        raise _wrong(f"it ends at {_moment(schedule.not_after)}, before it can begin")


def opens_in_s(schedule: Schedule, now: float) -> float | None:
    """The seconds until offers may be made; 0 if they may be made now, None if never again."""
    at = max(now, schedule.not_before)
    opens = at + wait_s(schedule.hours, datetime.fromtimestamp(at, UTC))
    return None if schedule.not_after and opens >= schedule.not_after else opens - now


def allows(schedule: Schedule, now: float) -> bool:
    """Whether offers may be made now."""
    return schedule == ALWAYS or opens_in_s(schedule, now) == 0.0


def schedule_words(schedule: Schedule, now: float) -> str:
    """When offers are made, in a sentence; empty without a schedule."""
    if schedule == ALWAYS:
        return ""
    parts = [f"from {_moment(schedule.not_before)} on"] if schedule.not_before else []
    parts += [f"until {_moment(schedule.not_after)}"] if schedule.not_after else []
    parts += [f"in {', '.join(schedule.hours)} (UTC)"] if schedule.hours else []
    opens_s = opens_in_s(schedule, now)
    state = "that time is over" if opens_s is None else "now it may" if not opens_s else f"next in {span(opens_s)}"
    return f"It offers the release {' '.join(parts)}: {state}."


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _wrong(words: str) -> BadInput:
    return BadInput(Code.STRATEGY_INVALID, f"schedule: {words}")
