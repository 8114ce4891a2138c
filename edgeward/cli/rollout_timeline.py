"""A rollout's history as a picture in text: a line for each wave over time, marks for failures and verdicts, then
words.

Decides what fits the available columns. Refuses to know where events come from.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from edgeward.answers.rollout_looks import RolloutEvent
from edgeward.answers.rollouts import Rollout
from edgeward.cli.moments import with_local_times
from edgeward.cli.render import duration

NAME_COLUMNS = 10
MIN_COLUMNS, MAX_COLUMNS = 20, 100
"""The width of the time line itself."""
_FAILED, _SAID, _PAUSED = "x", "!", "="
_WAVE = re.compile(r"wave (\d+)(?: of \d+)? begins")


def picture(view: Rollout, events: Sequence[RolloutEvent], now: datetime, columns: int) -> list[Text]:
    """Returns lines: time, waves, failures, verdicts. Empty if nothing has happened yet."""
    if not events:
        return []
    begin = events[0].at
    end = now if view.open else _ended_at(events)
    width = max(MIN_COLUMNS, min(MAX_COLUMNS, columns - NAME_COLUMNS - 1))
    line = _Line(begin, max(end, begin), width)
    rows = [_head(line)]
    starts = list(_wave_starts(events, begin))
    for place, (number, start) in enumerate(starts):
        stop = starts[place + 1][1] if place + 1 < len(starts) else end
        going = view.open and place + 1 == len(starts)
        rows.append(_row(f"wave {number}", line.span(start, stop), "cyan" if going else "green"))
    marked = [
        ("failed", "red", _FAILED, [each for each in events if each.kind == "failed"]),
        ("rule", "red", _SAID, [each for each in events if each.kind == "verdict" and " has failed: " in each.text]),
        ("paused", "yellow", _PAUSED, [each for each in events if each.kind == "paused"]),
    ]
    for name, style, mark, found in marked:
        if found:
            places = {line.place(each.at) for each in found}
            drawn = "".join(mark if place in places else " " for place in range(line.width))
            rows.append(_row(name, drawn.rstrip(), style))
    return rows


def _ended_at(events: Sequence[RolloutEvent]) -> datetime:
    """Returns when it ended last: notes, comments and late verdicts that come afterwards do not make it longer."""
    return next((each.at for each in reversed(events) if each.kind == "ended"), events[-1].at)


def story_lines(events: Iterable[RolloutEvent]) -> list[Text]:
    """Yields a line for each event: when, what, by whom, in words."""
    colours = {"failed": "red", "paused": "yellow", "running": "cyan", "wave": "cyan"}
    return [
        Text.assemble(
            (f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}  ", "dim"),
            (each.action.removeprefix("rollout "), colours.get(each.kind, "bold")),
            f"{'' if each.by == 'controller' else f' by {each.by}'}: ",
            f"{each.device}: " if each.device else "",
            with_local_times(each.text) or "no more is known",
        )
        for each in events
    ]


class _Line:
    """An interval of time on so many columns."""

    def __init__(self, begin: datetime, end: datetime, width: int) -> None:
        self.begin, self.end, self.width = begin, end, width
        self._length_s = max((end - begin).total_seconds(), 1.0)

    def place(self, at: datetime) -> int:
        """Returns the column of a time."""
        part = (at - self.begin).total_seconds() / self._length_s
        return min(self.width - 1, max(0, int(part * self.width)))

    def span(self, start: datetime, stop: datetime) -> str:
        """Returns a bar from one time to another, at least one column long."""
        first, last = self.place(start), self.place(stop)
        return " " * first + "#" * max(1, last - first + (stop == self.end))


def _head(line: _Line) -> Text:
    left = f"{line.begin.astimezone():%m-%d %H:%M}"
    right = f"{line.end.astimezone():%m-%d %H:%M %Z}"
    length = duration((line.end - line.begin).total_seconds())
    middle = length.center(max(0, line.width - len(left) - len(right)))
    return Text(" " * (NAME_COLUMNS + 1) + left + middle + right, style="dim")


def _row(name: str, bar: str, style: str) -> Text:
    return Text.assemble((f"{name:<{NAME_COLUMNS}} ", "dim"), (bar, style))


def _wave_starts(events: Sequence[RolloutEvent], begin: datetime) -> Iterable[tuple[int, datetime]]:
    """Returns (number of the wave from 1 on, when it began)."""
    approved = next((each.at for each in events if each.action == "rollout approve"), begin)
    yield 1, approved
    for each in events:
        if each.kind == "wave" and (found := _WAVE.search(each.text)) is not None:
            yield int(found[1]), each.at
