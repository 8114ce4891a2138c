"""`edgeward stick export | import`."""

from pathlib import Path

import click

from edgeward.cli.render import json_option, say, say_done, size
from edgeward.client import Client


@click.group()
def stick() -> None:
    """Devices without a broker: a stick carries models to them and their reports back."""


@stick.command()
@click.option("--device", "devices", multiple=True, help="A device to include; may be repeated. Default: all devices.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="A directory, on a stick.")
@json_option
def export(devices: tuple[str, ...], out: Path, *, as_json: bool) -> None:
    """Write what devices shall run: for those whose [broker] url is the directory, as file:///...

    Devices verify it like documents from a broker. It is valid for a day and a half, as long as the timestamp.
    """
    found = Client().export_stick(devices, out)
    named = ", ".join(found.devices) or "no device: none has been offered a version"
    words = f"{size(found.size_bytes)} in {out} for {named}"
    say_done(words, facts={"directory": str(out), **found.plain}, as_json=as_json)
    for what, why in sorted(found.missing.items()) if not as_json else ():
        say(("missing", "red"), f" {what}: {why}")
    if found.missing:
        raise click.exceptions.Exit(1)


@stick.command(name="import")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def import_(directory: Path, *, as_json: bool) -> None:
    """Bring what devices left in DIRECTORY to the controller. Repeating it does no harm."""
    found = Client().import_stick(directory)
    say_done(f"{found.taken} messages taken, {found.refused} refused", facts=found.plain, as_json=as_json)
    if found.refused:
        raise click.exceptions.Exit(1)
