"""What a person sees: tables, bars, times. Refuses to know where the data comes from."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])

console = Console()
_COLOURS = {
    "running": "cyan", "paused": "yellow", "completed": "green", "rolling_back": "red", "rolled_back": "red",
    "succeeded": "green", "failed": "red", "pending": "cyan", "online": "green", "offline": "red", "silent": "yellow",
    "pass": "green", "fail": "red", "inconclusive": "yellow",
}  # fmt: skip


def json_option(command: F) -> F:
    """The --json flag that every command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table; None shows as a dash, known words in their colour."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        last = position == len(columns) - 1
        made.add_column(column, no_wrap=not last, overflow="fold")  # names and ids are copied: they stay whole
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def microseconds(value: float | None) -> str:
    """A latency, which is known to within a histogram bucket."""
    return "-" if value is None else f"{value:.0f} us"


def ratio(value: float | None) -> str:
    """An accuracy."""
    return "-" if value is None else f"{value:.3f}"


def rollout_panel(view: dict[str, Any]) -> RenderableType:
    """A rollout as bars, one a wave, and what the rules say."""
    head = Text.assemble(
        (f"{view['id']}  {view['model']} v{view['release']} by {view['strategy']}: ", "bold"),
        (view["status"], _COLOURS.get(view["status"], "")),
        f"  {view['reason']}",
    )
    waves = Table(box=None, pad_edge=False, show_header=False)
    for number in range(view["waves"]):
        members = [member for member in view["members"] if member["wave"] == number]
        done = sum(member["outcome"] == "succeeded" for member in members)
        failed = sum(member["outcome"] == "failed" for member in members)
        words = f"{done} of {len(members)} have it" + (f", {failed} failed" if failed else "")
        colour = "red" if failed else "green"
        waves.add_row(f"wave {number}", ProgressBar(len(members) or 1, done, width=30, complete_style=colour), words)
    rules = [
        Text.assemble(
            "  ",
            (verdict["verdict"], _COLOURS.get(verdict["verdict"], "")),
            f"  {verdict['metric']}: {verdict['detail']}",
        )
        for verdict in view["verdicts"]
    ]
    faults = [
        Text(f"  {member['device']}: {member['code']} {member['detail']}", style="red")
        for member in view["members"]
        if member["outcome"] == "failed"
    ]
    return Group(head, waves, *rules, *faults)


def _cell(value: Any) -> Text:
    text = "-" if value is None else str(value)
    return Text(text, style=_COLOURS.get(text, ""))
