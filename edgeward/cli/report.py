"""`edgeward report`: the fleet, rollouts, alerts and changes of a span of time, as one file for people."""

from datetime import UTC, datetime
from pathlib import Path

import click

from contract.errors import BadInput, Code
from edgeward.cli.audit import moment
from edgeward.cli.render import tell
from edgeward.cli.telemetry import seconds_of
from edgeward.client import Client
from edgeward.files import write_whole
from edgeward.report.gather import gather
from edgeward.report.page import html_of
from edgeward.report.pdf import write_pdf
from edgeward.settings import find_settings


@click.command()
@click.option("--since", default="7d", show_default=True, metavar="WHEN", help="2026-01-31, 12h, 7d.")
@click.option("--until", default="", metavar="WHEN", help="As --since; default: now.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("fleet-report.html"), show_default=True,
    help="A .html, or a .pdf where Chromium is installed.",
)  # fmt: skip
def report(*, since: str, until: str, out: Path) -> None:
    """Write a report: fleet, versions, rollouts with their verdicts, alerts, changes."""
    if out.suffix not in (".html", ".pdf"):
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .html or .pdf")
    now = datetime.now(UTC)
    begins, ends = (_read(each, now) for each in (since, until))
    if begins >= ends:
        raise BadInput(Code.REQUEST_INVALID, f"--since {since} is not before --until {until or 'now'}")
    page = html_of(gather(Client(), find_settings().url, begins, ends))
    if out.suffix == ".pdf":
        write_pdf(page, out)
    else:
        write_whole(out, page)
    tell(f"wrote {out}: {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC")


def _read(text: str, now: datetime) -> datetime:
    return datetime.fromtimestamp(seconds_of(moment(text, now)), UTC) if text else now
