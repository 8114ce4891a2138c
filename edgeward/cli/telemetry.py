"""`edgeward telemetry query | export`."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from edgeward.answers.table import Table
from edgeward.answers.telemetry import TelemetryRow
from edgeward.cli.audit import moment
from edgeward.cli.render import csv_option, json_option, print_json, print_table, say_done
from edgeward.client import Client


@click.group()
def telemetry() -> None:
    """Show and export what devices have measured."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that select rows: the same for a list and for a file."""
    for option in (
        click.option("--until", default="", metavar="WHEN", help="As --since; default: now."),
        click.option("--since", default="1d", metavar="WHEN", show_default=True, help="2026-01-31, 12h, 7d."),
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
def query(*, as_json: bool, **wanted: str) -> None:
    """Print what devices measured of MODEL, oldest first."""
    found = _found(wanted)
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (
            f"{row.at:%m-%d %H:%M}",
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
    columns = ("at (UTC)", "version", of, "devices", "inferences", "errors", "accuracy", "MAE", "p95 us")
    print_table(wanted["model"], columns, rows)


@telemetry.command()
@_asking
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .csv or .parquet file.")
@json_option
def export(*, out: Path, as_json: bool, **wanted: str) -> None:
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


def _found(wanted: dict[str, str]) -> Table[TelemetryRow]:
    now = datetime.now(UTC)
    since, until = (seconds_of(moment(wanted[name], now)) for name in ("since", "until"))
    return Client().telemetry(wanted["model"], every=wanted["every"], by=wanted["by"], since=since, until=until)


def seconds_of(text: str) -> float:
    """A date as seconds since 1970; 0 for an empty text. BadInput `request_invalid`."""
    if not text:
        return 0.0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected a date, or a time ago such as 12h or 7d") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _quality(row: TelemetryRow) -> tuple[str, str, str]:
    """(accuracy, mean absolute error, 95th percentile) as texts; - for none."""
    values = (row.accuracy, row.mean_absolute_error, row.latency_us_p95)
    return tuple("-" if value is None else f"{value:.4g}" for value in values)  # type: ignore[return-value]
