"""`edgeward telemetry query | export`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from edgeward.answers.table import Table
from edgeward.answers.telemetry import TelemetryRow
from edgeward.cli.render import csv_option, json_option, print_json, print_table, say_done, when, zone
from edgeward.cli.times import AGO, PAST
from edgeward.client import Client

NOTHING = "devices measured nothing of {model} in this time: try an earlier --since"


@click.group()
def telemetry() -> None:
    """Show and export what devices have measured."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that select rows: the same for a list and for a file."""
    for option in (
        click.option("--until", type=PAST, metavar="WHEN", help="As --since; default: now."),
        click.option("--since", type=PAST, default="1d", metavar="WHEN", show_default=True, help=f"Rows since {AGO}."),
        click.option("--by", type=click.Choice(["fleet", "stratum", "device"]), default="fleet", show_default=True),
        click.option("--every", type=click.Choice(["minute", "hour", "day"]), default="hour", show_default=True),
        click.argument("model"),
    ):
        command = option(command)
    return command


@telemetry.command()
@_asking
@csv_option
@json_option
def query(*, as_json: bool, **wanted: Any) -> None:
    """Print what devices measured of MODEL, oldest first."""
    found = _found(wanted)
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (
            when(row.at),
            f"v{row.release}",
            row.of or "-",
            row.devices,
            row.inferences,
            row.errors,
            *_quality(row),
        )
        for row in found
    ]
    of = wanted["by"] if wanted["by"] != "fleet" else "of"
    columns = (f"at ({zone()})", "version", of, "devices", "inferences", "errors", "accuracy", "MAE", "p95 us")
    print_table(wanted["model"], columns, rows, empty=NOTHING.format(model=wanted["model"]))


@telemetry.command()
@_asking
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .csv or .parquet file.")
@json_option
def export(*, out: Path, as_json: bool, **wanted: Any) -> None:
    """Write what devices measured of MODEL to a file."""
    if out.suffix not in (".csv", ".parquet"):
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .csv or .parquet")
    rows = _found(wanted).to_frame()
    if out.suffix == ".csv":
        rows.to_csv(out, index=False)
    else:
        _as_parquet(rows, out)
    say_done(f"{len(rows)} rows in {out}", facts={"file": str(out), "rows": len(rows)}, as_json=as_json)


def _as_parquet(rows: Any, out: Path) -> None:
    try:
        rows.to_parquet(out, index=False)
    except ImportError:
        words = f"{out}: Parquet needs pyarrow: pip install 'edgeward[parquet]', or name a .csv"
        raise BadInput(Code.CONFIG_INVALID, words) from None


def _found(wanted: dict[str, Any]) -> Table[TelemetryRow]:
    since, until = (0.0 if at is None else at.timestamp() for at in (wanted["since"], wanted["until"]))
    return Client().telemetry(wanted["model"], every=wanted["every"], by=wanted["by"], since=since, until=until)


def _quality(row: TelemetryRow) -> tuple[str, str, str]:
    """(accuracy, mean absolute error, 95th percentile) as texts; - for none."""
    values = (row.accuracy, row.mean_absolute_error, row.latency_us_p95)
    return tuple("-" if value is None else f"{value:.4g}" for value in values)  # type: ignore[return-value]
