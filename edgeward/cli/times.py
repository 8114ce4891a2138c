"""Times and lengths of time as people write them in a command: `yesterday`, `2h`, `2026-01-31T13:00`.

Decides the accepted forms, the same for every command, and that a time without a zone is in the zone of this machine.
Refuses to know what a time is for.
"""

import re
from datetime import datetime, time, timedelta
from typing import NoReturn

import click

LENGTHS = "30m, 2h, 3d or 1w"
_DATES = "2026-01-31, 2026-01-31T13:00 (local time) or 2026-01-31T13:00+01:00"
AGO = f"today, yesterday, {LENGTHS} ago, {_DATES}"
"""The forms of a time in the past, for help and errors."""
AHEAD = f"today, tomorrow, {LENGTHS} from now, {_DATES}"
"""The forms of a time in the future."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([mhdw])(?: ago| from now)?")
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}


class When(click.ParamType[datetime]):
    """An option or argument that is a time: a datetime with its zone. `ahead`: `2h` is in two hours, not two hours
    ago.
    """

    name = "when"

    def __init__(self, *, ahead: bool = False) -> None:
        self._ahead = ahead

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Returns the time (called by click). click.BadParameter with all forms for anything else."""
        if isinstance(value, datetime):
            return value
        try:
            return moment_of(str(value), datetime.now().astimezone(), ahead=self._ahead)
        except ValueError:
            self._refuse(str(value), param, ctx)

    def _refuse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        self.fail(f"{text[:40]!r} is no time; write {AHEAD if self._ahead else AGO}", param, ctx)


PAST, FUTURE = When(), When(ahead=True)


def moment_of(text: str, now: datetime, *, ahead: bool = False) -> datetime:
    """Returns the time that a text means at `now`, with a zone. ValueError for a text of no accepted form."""
    word = text.strip().lower()
    try:
        if word == "now":
            return now
        if word in _DAYS:
            day = now.astimezone().date() + timedelta(days=_DAYS[word])
            return datetime.combine(day, time.min).astimezone()
        length = length_of(word)
        if length is not None:
            return now + length if ahead else now - length
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo is not None else found.astimezone()
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from None


def length_of(text: str) -> timedelta | None:
    """Returns a length of time such as `30m`; None for a text of another form."""
    found = _LENGTH.fullmatch(text.strip().lower())
    return None if found is None else timedelta(**{_UNITS[found[2]]: float(found[1])})
