"""The output for people: lines, tables, bars, times.

Decides that no text is markup: what a device, a person or the controller wrote appears letter by letter, and only
constants of this program choose colours. Refuses to know where the data comes from.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import IO, Any, TypeVar, cast

import click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from contract.visible import one_line
from edgeward.answers.devices import Measured
from edgeward.answers.fleet import Served
from edgeward.cli.trimmed import TrimmedOutput

F = TypeVar("F", bound=Callable[..., Any])

WIDE = 1000
"""The width of output that is not a screen, such as a pipe: programs expect a row on one line."""
_CSV = "edgeward.csv"
CONTINUED = "    "
"""Begins each further line of a table's last cell, so that none looks like another row on a narrow screen."""
MIN_LAST_COLUMN = 24
"""The smallest width of a table's last column: sentences in fewer columns are hard to read."""


def _width() -> int | None:
    """Returns the columns to print; None for those of the screen, or of COLUMNS."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDE


console = Console(width=_width(), file=cast("IO[str]", TrimmedOutput()), markup=False, emoji=False, highlight=False)
"""Reads neither `[red]` nor `:smile:` in a line, a cell or a title. tests/test_plain_printing.py refuses in this
package whatever would read them all the same."""
COLOURS = {
    "running": "cyan", "paused": "yellow", "completed": "green", "rolling_back": "red", "rolled_back": "red",
    "succeeded": "green", "failed": "red", "pending": "cyan", "online": "green", "offline": "red", "silent": "yellow",
    "pass": "green", "fail": "red", "inconclusive": "yellow", "no_data": "dim",
    "failing": "red", "attention": "yellow", "updating": "cyan", "well": "green",
    "sent_back": "yellow", "device_sick": "red",
    "firing": "red", "critical": "red", "warning": "yellow", "silenced": "cyan", "inhibited": "cyan",
}  # fmt: skip


def json_option(command: F) -> F:
    """Adds the --json flag, for commands that answer or change something."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def csv_option(command: F) -> F:
    """Adds the --csv flag, for commands that print a table with `print_table`."""
    return click.option("--csv", is_flag=True, expose_value=False, callback=_note_csv, help="Print the table as CSV.")(
        command
    )


def _note_csv(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_CSV] = value


def csv_asked() -> bool:
    """Returns whether the command runs with --csv."""
    return bool(click.get_current_context().meta.get(_CSV))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Prints a table, or without rows the sentence `empty`: what there is none of, and what to do; with --csv columns
    and rows as CSV, where None is an empty cell.
    """
    if not csv_asked():
        console.print(table(title, columns, rows, empty=empty))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)


def print_pages(title: str, columns: Sequence[str], pages: Iterable[list[tuple[Any, ...]]], *, empty: str) -> None:
    """Prints a table whose rows come page by page, as `print_table` does. A reader of a pipe gets each page as soon as
    it arrives.

    A screen gets the table as a whole, with columns as wide as all rows need.
    """
    if csv_asked() or console.is_terminal or console.width < WIDE:
        print_table(title, columns, (row for page in pages for row in page), empty=empty)
        return
    rest = iter(pages)
    first = next((page for page in rest if page), None)
    if first is None:
        console.print(Text(empty))
        return
    widths = [cell_len(name) for name in columns]
    head: list[Sequence[str]] = [columns]
    console.file.write(f"{title}\n")
    for page in chain((first,), rest):
        cells = [tuple("-" if value is None else one_line(str(value)) for value in row) for row in page]
        lines = [*head, *cells]
        widths = [max(widths[i], *(cell_len(line[i]) for line in lines), 0) for i in range(len(columns))]
        for row in lines:
            padded = (text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
            console.file.write(f"{'  '.join(padded).rstrip()}\n")
        console.file.flush()
        head = []


def _csv_cell(value: Any) -> str:
    """Returns a cell that a spreadsheet does not read as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "@", "\t")) else text


def print_json(value: Any) -> None:
    """Prints one JSON document on stdout."""
    click.echo(json.dumps(value))


def say(*parts: str | tuple[str, str]) -> None:
    """Prints one line of texts, or of pairs (text, style). No text begins another line."""
    line = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        line.append(one_line(words), style)
    console.print(line)


def say_done(*parts: str | tuple[str, str], facts: Mapping[str, object], as_json: bool) -> None:
    """Says what was done: in a line for people, or the same facts as JSON."""
    print_json(facts) if as_json else say(*parts)


@contextmanager
def waiting(words: str) -> Iterator[Callable[[str], None]]:
    """Shows on a screen that something runs; yields a function that replaces the words."""
    with console.status(Text(words), spinner="dots") as status:
        yield lambda words: status.update(Text(words))


def tell(words: str) -> None:
    """Prints lines from which people copy a command: they are not wrapped or cut."""
    console.print(words, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str | None = None
) -> RenderableType:
    """Returns a table. None is shown as a dash, known words in their colour. `empty` stands in place of a table that
    has no rows.
    """
    cells = [_cells(row) for row in rows]
    return Text(empty) if empty is not None and not cells else _Fitted(title, tuple(columns), cells)


class _Fitted:
    """A table if there is room for it; on a narrower screen the rows one by one, each cell behind its column's name.

    The last column may wrap. Others may not: names and ids are copied, so they are neither cut nor left out.
    """

    def __init__(self, title: str, columns: tuple[str, ...], rows: list[tuple[Text, ...]]) -> None:
        self._title = title
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            max(cell_len(name), *(cell_len(row[place].plain) for row in self._rows), 0)
            for place, name in enumerate(self._columns)
        ]
        *others, last = widths
        needed = sum(others) + len(others) + min(last, MIN_LAST_COLUMN)
        yield self._as_table() if needed <= options.max_width else Group(*self._as_records(options.max_width))

    def _as_table(self) -> Table:
        made = Table(title=self._title, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for column in self._columns:
            made.add_column(column, no_wrap=column != self._columns[-1], overflow="fold")
        for row in self._rows:
            made.add_row(*row)
        return made

    def _as_records(self, width: int) -> Iterable[RenderableType]:
        yield Text(self._title, style="italic")
        for first, *others in self._rows:
            named = zip(self._columns[1:], others, strict=True)
            cells = [
                Text.assemble((f"{name or 'note'}: ", "dim"), cell, overflow="fold")
                for name, cell in named
                if cell.plain not in ("-", "")
            ]
            begin, *more = _packed([Text(first.plain, style="bold", overflow="fold"), *cells], width)
            yield begin
            yield from (Padding(line, (0, 0, 0, len(CONTINUED))) for line in more)


def _packed(cells: Sequence[Text], width: int) -> list[Text]:
    """Returns the cells on as few lines as hold them, two blanks between two of them; all but the first line are
    indented later. A cell with line breaks, or longer than a line, has its own line, which may wrap.
    """
    lines = [cells[0].copy()]
    for cell in cells[1:]:
        room = width - (len(CONTINUED) if len(lines) > 1 else 0)
        if cell_len(lines[-1].plain) + 2 + cell_len(cell.plain) <= room and "\n" not in cell.plain:
            lines[-1] = Text.assemble(lines[-1], "  ", cell, overflow="fold")
        else:
            lines.append(cell)
    return lines


def many(count: int, noun: str) -> str:
    """Returns "1 device", "2 devices", "1,000 devices"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Returns a number of bytes as text for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Returns seconds as text in a suitable unit."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def microseconds(value: float | None) -> str:
    """Returns a latency as text. It is known to within a bucket of the histogram."""
    return "-" if value is None else f"{value:.0f} us"


def ratio(value: float | None) -> str:
    """Returns an accuracy as text."""
    return "-" if value is None else f"{value:.3f}"


def how_right(measured: Measured | Served | None) -> str:
    """Returns how right a version is: the accuracy of a classifier, the mean absolute error and R2 of a regression."""
    if measured is None or measured.mean_absolute_error is None:
        return ratio(measured.accuracy if measured is not None else None)
    r2 = "" if measured.r2 is None else f", R2 {measured.r2:.3f}"
    return f"MAE {measured.mean_absolute_error:.4g}{r2}"


def when(moment: datetime | None) -> str:
    """Returns a date and time to the minute, in the zone of this machine (TZ); in UTC with --csv."""
    return "-" if moment is None else moment.astimezone(UTC if _is_csv() else None).strftime("%Y-%m-%d %H:%M")


def zone() -> str:
    """The name of the time zone of `when`, as `UTC` or `CET`, for the title of a column of times."""
    return datetime.now(UTC).astimezone(UTC if _is_csv() else None).tzname() or "local"


def _is_csv() -> bool:
    """Whether a command runs with --csv; False outside of commands."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_CSV))


def _cells(row: Sequence[Any]) -> tuple[Text, ...]:
    """Returns the cells of a row. Only the last one may have several lines: another could imitate the next row."""
    *others, last = ("-" if value is None else str(value) for value in row)
    texts = (*map(one_line, others), last.replace("\n", f"\n{CONTINUED}"))
    return tuple(Text(text, style=COLOURS.get(text, "")) for text in texts)
