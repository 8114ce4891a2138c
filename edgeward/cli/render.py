"""The output for people: tables, bars, times. Refuses to know where the data comes from."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgeward.answers.devices import Measured
from edgeward.answers.rollouts import Preview, Rollout, Transfer

F = TypeVar("F", bound=Callable[..., Any])

console = Console()
_COLOURS = {
    "running": "cyan", "paused": "yellow", "completed": "green", "rolling_back": "red", "rolled_back": "red",
    "succeeded": "green", "failed": "red", "pending": "cyan", "online": "green", "offline": "red", "silent": "yellow",
    "pass": "green", "fail": "red", "inconclusive": "yellow", "sent_back": "yellow", "device_sick": "red",
}  # fmt: skip


def json_option(command: F) -> F:
    """Adds the --json flag, which every command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    """Prints one JSON document on stdout."""
    click.echo(json.dumps(value))


def tell(words: str) -> None:
    """Prints lines from which people copy a command: nothing is wrapped, cut or taken for markup."""
    console.print(words, markup=False, highlight=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Returns a table. None is shown as a dash, known words in their colour."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        last = position == len(columns) - 1
        made.add_column(column, no_wrap=not last, overflow="fold")  # names and ids are copied, so they are not cut
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def size(count: float) -> str:
    """Returns a number of bytes as text for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def microseconds(value: float | None) -> str:
    """Returns a latency as text. It is known to within a bucket of the histogram."""
    return "-" if value is None else f"{value:.0f} us"


def ratio(value: float | None) -> str:
    """Returns an accuracy as text."""
    return "-" if value is None else f"{value:.3f}"


def how_right(measured: Measured | None) -> str:
    """How right a version is: the accuracy of a classifier, the mean absolute error and R2 of a regression."""
    if measured is None or measured.mean_absolute_error is None:
        return ratio(measured.accuracy if measured is not None else None)
    r2 = "" if measured.r2 is None else f", R2 {measured.r2:.3f}"
    return f"MAE {measured.mean_absolute_error:.4g}{r2}"


def when(moment: datetime | None) -> str:
    """Returns a date and time to the minute, in UTC."""
    return "-" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


_FAILURES = ("failed", "rejected", "silent", "regressed")


def rollout_panel(view: Rollout) -> RenderableType:
    """Returns a rollout as bars, one for each wave, with the verdicts of its rules."""
    head = Text.assemble(
        (f"{view.id}  {view.model} v{view.release} by {view.strategy}: ", "bold"),
        (view.status, _COLOURS.get(view.status, "")),
        f"  {view.reason}",
    )
    waves = Table(box=None, pad_edge=False, show_header=False)
    for number in range(view.waves):
        members = [member for member in view.members if member.wave == number]
        done = sum(member.outcome == "succeeded" for member in members)
        failed = sum(member.outcome in _FAILURES for member in members)
        words = f"{done} of {len(members)} have it" + (f", {failed} failed" if failed else "")
        colour = "red" if failed else "green"
        waves.add_row(f"wave {number}", ProgressBar(len(members) or 1, done, width=30, complete_style=colour), words)
    rules = [
        Text.assemble(
            "  ",
            (verdict.verdict, _COLOURS.get(verdict.verdict, "")),
            f"  {verdict.metric}{' on ' + verdict.stratum if verdict.stratum else ''}: {verdict.detail}",
        )
        for verdict in view.verdicts
    ]
    faults = [
        Text(f"  {member.device}: {member.code} {member.detail}", style="red")
        for member in view.members
        if member.outcome in _FAILURES
    ]
    return Group(head, waves, *_transfer(view.transfer), *rules, *faults)


def _transfer(transfer: Transfer) -> list[RenderableType]:
    """Returns a bar of bytes while some are still to be sent."""
    done, total = transfer.done_bytes, transfer.total_bytes
    if not total or done >= total:
        return []
    eta = "" if transfer.eta_s is None else f", {transfer.eta_s:.0f} s to go"
    words = f"{size(done)} of {size(total)} received, {size(transfer.bytes_s)}/s{eta}"
    bar = Table(box=None, pad_edge=False, show_header=False)
    bar.add_row("bytes ", ProgressBar(total, done, width=30), words)
    return [bar]


def plan_panel(plan: Preview) -> RenderableType:
    """Returns the plan of a rollout before it starts."""
    rows = [
        (
            wave.wave,
            wave.mode,
            wave.devices,
            ", ".join(f"{count} {stratum}" for stratum, count in wave.strata.items()),
            f"{wave.soak_s:.0f} s",
            "promote" if wave.hold else "",
        )
        for wave in plan.waves
    ]
    head = f"{plan.model} v{plan.release} by {plan.strategy} to {plan.devices} devices"
    cost = f"sends {size(plan.bytes_to_send)}, ends in {plan.finish_s / 60:.0f} min at the earliest"
    lines = [Text(f"  {words}") for words in plan.power]
    lines += [Text(f"  left out: {device}: {why}", style="yellow") for device, why in plan.excluded.items()]
    lines += [Text(f"  {count} devices get the smaller form {name}") for name, count in plan.variants.items()]
    for reason, count in Counter(plan.no_way_back.values()).items():
        lines.append(Text(f"  {count} devices cannot roll back: {reason}", style="yellow"))
    if plan.unproven:
        words = f"{len(plan.unproven)} devices have not shown yet that they can roll back"
        lines.append(Text(f"  {words}", style="yellow"))
    last = Text(f"plan {plan.plan_digest}", style="dim")
    columns = ("wave", "mode", "devices", "of which", "soak", "then waits for")
    return Group(Text(head, style="bold"), table(cost, columns, rows), *lines, last)


def _cell(value: Any) -> Text:
    text = "-" if value is None else str(value)
    return Text(text, style=_COLOURS.get(text, ""))
