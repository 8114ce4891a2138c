"""`edgeward audit list | verify | export`."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import click

from contract import audit as chain
from contract.errors import BadInput, Code
from edgeward.answers.operators import AuditEntry
from edgeward.cli.render import console, csv_asked, csv_option, json_option, print_json, print_table, say_done, zone
from edgeward.cli.times import AGO, PAST
from edgeward.client import Client
from edgeward.files import write_whole

_COLUMNS = ("number", "at", "actor", "action", "subject", "detail", "hash")
NONE_MATCHES = "no entry meets these filters: `edgeward audit list` alone shows the newest ones"
NO_ENTRIES = "the audit has no entries yet: every change to the fleet writes one"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginning of a cell that a spreadsheet would run. Source:
https://owasp.org/www-community/attacks/CSV_Injection."""


@click.group()
def audit() -> None:
    """Show and check the audit: a chain of entries in which every later change is visible."""


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the filters of entries, the same for a list and for a file."""
    for option in (
        click.option("--subject", default="", help="A part of the subject: a device, a rollout, a model."),
        click.option("--action", default="", help="How the action begins: rollout finds rollout start."),
        click.option("--actor", default="", help="The whole name; controller for what nobody has asked for."),
        click.option("--until", type=PAST, metavar="WHEN", help="As --since; entries at that moment are left out."),
        click.option("--since", type=PAST, metavar="WHEN", help=f"Entries since {AGO}."),
    ):
        command = option(command)
    return command


@audit.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Newest entries.")
@click.option("--before", type=click.IntRange(1), default=None, metavar="NUMBER", help="Only entries before this one.")
@csv_option
@json_option
def list_(*, limit: int, before: int | None, as_json: bool, **wanted: Any) -> None:
    """List entries, newest first."""
    found = Client().audit_entries(limit=limit, before=before or 0, **_asked(wanted))
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (
            e.number,
            f"{e.at.astimezone(UTC if csv_asked() else None):%Y-%m-%d %H:%M:%S}",
            e.actor,
            e.action,
            e.subject,
            e.detail,
        )
        for e in found
    ]
    filtered = before is not None or any(wanted.values())
    columns = ("number", "at", "actor", "action", "subject", "detail")
    print_table(f"audit, times in {zone()}", columns, rows, empty=NONE_MATCHES if filtered else NO_ENTRIES)
    if len(found) == limit and not csv_asked():
        console.print(f"older entries are left out: --limit, or --before {found[-1].number}")


@audit.command()
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="N:HASH",
    help="A checkpoint from elsewhere, e.g. a device's timestamp.",
)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An exported file; default: ask the controller.",
)
@json_option
def verify(witnesses: tuple[str, ...], file: Path | None, *, as_json: bool) -> None:
    """Check every link, and the end against the checkpoints in signed metadata and in the audit's seal."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file else Client().audit().plain
    known = [*witnesses, *(found[name] for name in ("witness", "seal") if found.get(name))]
    faults = dict.fromkeys([*chain.faults(found["entries"], known), *found.get("faults", [])])
    if faults:
        raise BadInput(Code.AUDIT_BROKEN, "; ".join(faults))
    facts = {"unbroken": True, "entries": len(found["entries"]), "witnesses": len(known)}
    say_done(
        ("unbroken", "green"),
        f": {len(found['entries'])} entries, {len(known)} witnesses",
        facts=facts,
        as_json=as_json,
    )


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_filters
@json_option
def export(file: Path, *, as_json: bool, **wanted: Any) -> None:
    """Write the audit to FILE: as .csv the selected entries, oldest first; else all of it as JSON, with the proof
    that it is complete.
    """
    if file.suffix == ".csv":
        entries = Client().audit_entries(limit=None, **_asked(wanted))
        write_whole(file, as_csv(reversed(entries)))
        _say_written(file, len(entries), as_json=as_json)
        return
    if any(wanted.values()):
        raise BadInput(Code.REQUEST_INVALID, f"{file}: a part of the audit goes to a .csv; its chain covers all of it")
    found = Client().audit()
    write_whole(file, json.dumps(found.plain, indent=1))
    _say_written(file, len(found.entries), as_json=as_json)


def _say_written(file: Path, count: int, *, as_json: bool) -> None:
    say_done(f"wrote {count} entries to {file}", facts={"file": str(file), "entries": count}, as_json=as_json)


def as_csv(entries: Iterable[AuditEntry]) -> str:
    """Returns entries as CSV with a line of names. A text that a spreadsheet would run as a formula has a quote before
    it.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in entries:
        writer.writerow([_cell(entry.plain[name]) for name in _COLUMNS])
    return text.getvalue()


def _asked(wanted: dict[str, Any]) -> dict[str, Any]:
    return wanted | {name: wanted[name] or "" for name in ("since", "until")}


def _cell(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
