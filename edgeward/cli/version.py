"""`edgeward version withdraw | reinstate`."""

import click

from edgeward.answers.models import VersionDetail
from edgeward.cli.render import console, json_option, many, print_json
from edgeward.client import Client


@click.group()
def version() -> None:
    """A version that no device may get any more. `edgeward model show` lists versions."""


@version.command()
@click.argument("model")
@click.argument("release", metavar="VERSION")
@click.option("--reason", required=True, help="The reason, which is shown to everybody who wants to start it.")
@json_option
def withdraw(model: str, release: str, reason: str, *, as_json: bool) -> None:
    """Bar VERSION of MODEL from every rollout that starts from now on.

    Devices that have it continue, and `edgeward device list` shows them with version_withdrawn. If a rollout brings it,
    end that first. A device that has confirmed it may still roll back to it.
    """
    found = Client().withdraw(model, release, reason)
    if as_json:
        print_json(found.plain)
        return
    console.print(f"{model} v{found.release} is withdrawn: {reason}")
    console.print(_with_it(found))


@version.command()
@click.argument("model")
@click.argument("release", metavar="VERSION")
@json_option
def reinstate(model: str, release: str, *, as_json: bool) -> None:
    """Allow a withdrawn VERSION of MODEL in rollouts again."""
    found = Client().reinstate(model, release)
    print_json(found.plain) if as_json else console.print(f"{model} v{found.release} may be rolled out again")


def _with_it(found: VersionDetail) -> str:
    if not found.devices:
        return "no device has it"
    go_on = "has it and continues" if len(found.devices) == 1 else "have it and continue"
    return f"{many(len(found.devices), 'device')} {go_on}: {', '.join(found.devices)}"
