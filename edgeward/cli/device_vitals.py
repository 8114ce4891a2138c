"""`edgeward device vitals`: what a device reported about itself over time.

Decides how a series fits 80 columns. Refuses to know how it is measured.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from edgeward.answers.telemetry import VITALS, Vitals
from edgeward.cli.render import console, csv_asked, csv_option, json_option, print_json, print_table, table, tell, when
from edgeward.client import Client

COLUMNS = 32
"""Characters of a line of bars: with names and figures it fits 80 columns."""
BARS = "▁▂▃▄▅▆▇█"
GAP = " "
SHOWN = {
    "cpu_ratio": ("CPU %", 100.0, ".1f"), "rss_mb": ("memory MB", 1.0, ".1f"), "temperature_c": ("temp. C", 1.0, ".1f"),
    "inferences_s": ("inferences/s", 1.0, ".3g"), "failure_ratio": ("failed %", 100.0, ".2f"),
    "latency_ms": ("latency ms", 1.0, ".3g"),
}  # fmt: skip
"""The name with the unit, the factor and the format of each figure."""


@click.command()
@click.argument("name")
@click.option("--hours", type=float, default=24.0, show_default=True, help="The number of newest hours, up to 840.")
@csv_option
@json_option
def vitals(name: str, *, hours: float, as_json: bool) -> None:
    """Show CPU, memory, temperature and the pace of a device over time.

    Each bar is a mean; `low` and `high` are the extremes of single messages. --csv has every row.
    """
    found = Client().vitals(name, hours)
    if as_json:
        print_json(found.plain)
    elif csv_asked():
        rows = [each.table_rows()[0] for each in found]
        columns = ["at", "span_s", "messages", *(f"{name}_{end}" for name in VITALS for end in ("mean", "low", "high"))]
        print_table(name, columns, [[row[column] for column in columns] for row in rows], empty="")
    elif not found:
        tell(f"{name} has reported nothing about itself in the newest {hours:g} hours")
    else:
        until = found[-1].start + found[-1].span_s
        lines = [_line(found, figure, until - hours * 3600.0, until) for figure in VITALS]
        title = f"{name}, {hours:g} h until {when(datetime.fromtimestamp(until, UTC))}"
        columns = ["", "low", "mean", "high", "now", "over time"]
        console.print(table(title, columns, [line for line in lines if line is not None]))


def _line(rows: Sequence[Vitals], figure: str, since: float, until: float) -> tuple[str, ...] | None:
    """Returns one figure as a row of the table; None if the device does not measure it."""
    label, factor, form = SHOWN[figure]
    there = [(each, spread) for each in rows if (spread := getattr(each, figure)) is not None]
    if not there:
        return None
    weight = sum(each.messages for each, _ in there)
    mean = sum(spread.mean * each.messages for each, spread in there) / weight
    low, high = min(spread.low for _, spread in there), max(spread.high for _, spread in there)
    cells = (low, mean, high, there[-1][1].mean)
    line = bars([(each.start, each.start + each.span_s, spread.mean) for each, spread in there], since, until)
    return label, *(format(value * factor, form) for value in cells), line


def bars(points: Sequence[tuple[float, float, float]], since: float, until: float) -> str:
    """Draws (from, to, value) as a line of `COLUMNS` characters, from the lowest value to the highest; a gap stays a
    gap.
    """
    columns: list[list[float]] = [[] for _ in range(COLUMNS)]
    for begin, end, value in points:
        first, last = ((at - since) / (until - since) * COLUMNS for at in (begin, end))
        for place in range(max(0, int(first)), min(COLUMNS, max(int(first) + 1, int(last)))):
            columns[place].append(value)
    means = [sum(values) / len(values) if values else None for values in columns]
    known = [mean for mean in means if mean is not None]
    least, extent = min(known), max(known) - min(known)
    return "".join(
        GAP if mean is None else BARS[round((mean - least) / extent * (len(BARS) - 1)) if extent else 0]
        for mean in means
    )
