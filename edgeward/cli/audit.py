"""`edgeward audit verify | export`."""

import json
from pathlib import Path

import click

from contract import audit as chain
from contract.errors import BadInput, Code
from edgeward.cli.render import console
from edgeward.client import Client
from edgeward.files import write_whole


@click.group()
def audit() -> None:
    """Show and check the audit: a chain of entries in which every later change is visible."""


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
def verify(witnesses: tuple[str, ...], file: Path | None) -> None:
    """Check the hash of every entry, and the chain against the checkpoint in signed metadata."""
    found = json.loads(file.read_text(encoding="utf-8")) if file else Client().audit().plain
    known = [*witnesses, *([found["witness"]] if found["witness"] else [])]
    if faults := chain.faults(found["entries"], known):
        raise BadInput(Code.AUDIT_BROKEN, "; ".join(faults))
    console.print(f"[green]unbroken[/]: {len(found['entries'])} entries, {len(known)} witnesses", highlight=False)


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export(file: Path) -> None:
    """Write the whole audit with hashes and checkpoint to FILE."""
    found = Client().audit()
    write_whole(file, json.dumps(found.plain, indent=1))
    console.print(f"wrote {len(found.entries)} entries to {file}", highlight=False)
