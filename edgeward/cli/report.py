"""`edgeward report`: the fleet, rollouts, alerts and changes of a period, as one file for people; and `edgeward report
compliance`: the evidence for each duty.
"""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.padding import Padding
from rich.text import Text

from contract.errors import BadInput, Code
from edgeward.cli.render import console, json_option, print_json, say, say_done, tell, when
from edgeward.cli.times import AGO, PAST
from edgeward.client import Client
from edgeward.files import write_whole
from edgeward.report.compliance import NO_ADVICE, findings
from edgeward.report.compliance_facts import gather_facts
from edgeward.report.gather import gather
from edgeward.report.page import html_of
from edgeward.report.pdf import write_pdf
from edgeward.settings import find_settings

INDENT = 10
"""Columns of indentation below a duty."""


@click.group(invoke_without_command=True)
@click.option("--since", type=PAST, default="7d", show_default=True, metavar="WHEN", help=f"What was since {AGO}.")
@click.option("--until", type=PAST, metavar="WHEN", help="As --since; default: now.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("fleet-report.html"), show_default=True,
    help="A .html, or a .pdf where Chromium is installed.",
)  # fmt: skip
@json_option
@click.pass_context
def report(context: click.Context, *, since: datetime, until: datetime | None, out: Path, as_json: bool) -> None:
    """Write a report: fleet, versions, rollouts with their verdicts, alerts, changes."""
    if context.invoked_subcommand is not None:
        return
    if out.suffix not in (".html", ".pdf"):
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .html or .pdf")
    begins, ends = (each.astimezone(UTC) for each in (since, until or datetime.now(UTC)))
    if begins >= ends:
        end = "now" if until is None else f"--until {when(until)}"
        raise BadInput(Code.REQUEST_INVALID, f"--since {when(since)} is not before {end}")
    page = html_of(gather(Client(), find_settings().url, begins, ends))
    if out.suffix == ".pdf":
        write_pdf(page, out)
    else:
        write_whole(out, page)
    facts = {"file": str(out), "since": begins.isoformat(), "until": ends.isoformat()}
    say_done(f"wrote {out}: {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC", facts=facts, as_json=as_json)


@report.command()
@click.argument("model")
@json_option
def compliance(model: str, *, as_json: bool) -> None:
    """Show for each duty (EU AI Act, NIST AI RMF) which evidence about MODEL there is.

    Each with the command that checks it again. This is no legal advice.
    """
    now = datetime.now(UTC)
    found = findings(gather_facts(Client(), model, now))
    if as_json:
        rows = [dataclasses.asdict(each) for each in found]
        print_json({"model": model, "at": now.isoformat(), "note": NO_ADVICE, "duties": rows})
        return
    tell(f"{model}, {now:%Y-%m-%d %H:%M} UTC")
    for each in found:
        say(("evidence", "green") if each.found else ("missing", "yellow"), "  ", (each.source, "bold"))
        for line in (each.duty, each.evidence, f"kept by: {each.signed_by}", f"check: {each.check}"):
            console.print(Padding(Text(line), (0, 0, 0, INDENT)))
    tell(f"{sum(each.found for each in found)} of {len(found)} duties have evidence. {NO_ADVICE}")
