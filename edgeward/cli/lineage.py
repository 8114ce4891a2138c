"""`edgeward lineage export | verify`: a version's chain of signatures, from a prediction to the data digest."""

from pathlib import Path

import click

from edgeward.cli.named import split_version
from edgeward.cli.render import console, json_option, print_json, say_done, size, table, tell
from edgeward.client import Client
from edgeward.files import write_whole
from edgeward.provenance.folder import read_provenance
from edgeward.provenance.verify import verify

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def lineage() -> None:
    """Prove where a version and its predictions come from, without a controller."""


@lineage.command()
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="A new directory.")
@click.option("--prediction", default="", metavar="ID", help="A captured row that it answered, or the id of an answer.")
@click.option("--root", type=click.Path(dir_okay=False, path_type=Path), help="Write the fleet's root of trust too.")
@json_option
def export(name: str, out: Path, prediction: str, root: Path | None, *, as_json: bool) -> None:
    """Write NAME@VERSION with its signed lineage to a directory, in which it can be checked.

    Send the root of trust by another way than the directory: somebody who can change both can forge both.
    """
    model, release = split_version(name)
    client = Client()
    written = client.export_lineage(model, release, out, prediction=prediction)
    facts = {"directory": str(out), "size_bytes": written, "root": None if root is None else str(root)}
    say_done(f"{size(written)} of {name} in {out}", facts=facts, as_json=as_json)
    if root is not None:
        write_whole(root, client.enrolment().root)
    if root is not None and not as_json:
        tell(f"next: edgeward lineage verify {out} --root {root}")


@lineage.command(name="verify")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--root", type=_FILE, required=True, help="The fleet's root of trust, from a source that you trust.")
@json_option
def verify_(folder: Path, root: Path, *, as_json: bool) -> None:
    """Check every edge of FOLDER's chain offline. Exit code 1: an edge is broken."""
    edges = verify(read_provenance(folder), root.read_text(encoding="utf-8"))
    broken = [each for each in edges if each.verdict == "broken"]
    if as_json:
        rows = [{"edge": each.name, "verdict": each.verdict, "detail": each.words} for each in edges]
        print_json({"holds": not broken, "edges": rows})
    else:
        console.print(table("", ("edge", "verdict", "what it says"), [(e.name, e.verdict, e.words) for e in edges]))
        count = f"{len(broken)} of {len(edges)} edges are broken" if broken else f"all {len(edges)} edges checked"
        tell(count if broken else f"{count}: nothing is broken")
    raise SystemExit(1 if broken else 0)
