"""`edgeward device logs | doctor`: answers of one device now. Decides exit codes. Refuses to know how a device is
asked.
"""

import click

from contract.visible import one_line
from edgeward.cli.render import json_option, print_json
from edgeward.client import Client

MAX_LINES = 400
"""The most lines that a device sends in one answer."""


@click.command()
@click.argument("name")
@click.option(
    "--lines", type=click.IntRange(1, MAX_LINES), default=100, show_default=True, help="The number of newest lines."
)
@json_option
def logs(name: str, *, lines: int, as_json: bool) -> None:
    """Show the newest log lines of a device, requested now. Secrets are left out; it is audited."""
    found = Client().logs(name, lines)
    if as_json:
        print_json(found.plain)
        return
    for line in found.lines:
        click.echo(one_line(line))
    if found.left_out:
        click.echo(f"({found.left_out} older lines are on the device: --lines, or its journal)", err=True)


@click.command()
@click.argument("name")
@json_option
def doctor(name: str, *, as_json: bool) -> None:
    """Make a device check its disk, clock, certificates, sensors and sinks. Exit code 1 if something is wrong."""
    found = Client().doctor(name)
    if as_json:
        print_json(found.plain)
    else:
        for line in found.lines:
            click.echo(one_line(line))
    if any(line.startswith("FAIL") for line in found.lines):
        raise click.exceptions.Exit(1)
