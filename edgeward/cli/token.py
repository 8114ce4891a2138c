"""`edgeward token create | list | revoke`."""

import click

from edgeward.cli.key_values import pairs
from edgeward.cli.render import console, csv_option, json_option, print_json, print_table, when
from edgeward.client import Client

NO_TOKENS = "no tokens: make one with `edgeward token create NAME --role viewer`"

_ROLES = ("viewer", "operator", "approver", "admin")


@click.group()
def token() -> None:
    """Tokens: the people and programs that may call the controller, and their roles."""


@token.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(_ROLES), help="May be repeated.")
@click.option("--days", type=float, default=90.0, show_default=True, help="Days until it expires.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label of the devices on which its holder may act; may be repeated.",
)
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="A model on which its holder may act; may be repeated."
)
@json_option
def create(
    name: str, roles: tuple[str, ...], days: float, labels: tuple[str, ...], models: tuple[str, ...], *, as_json: bool
) -> None:
    """Make a token for NAME. It is printed only now: set it as EDGEWARD_TOKEN.

    --label and --model limit what its holder may change, not what they may see.
    """
    made = Client().create_token(name, roles, days, labels=pairs(labels), models=models)
    print_json(made.plain) if as_json else click.echo(made.token)


@token.command(name="list")
@csv_option
@json_option
def list_(*, as_json: bool) -> None:
    """List all tokens."""
    found = Client().tokens()
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (
            one.id,
            one.name,
            " ".join(one.roles),
            one.scope.words or None,
            when(one.expires_at),
            "revoked" if one.revoked else "",
        )
        for one in found
    ]
    print_table("tokens", ("id", "name", "roles", "only for", "ends", ""), rows, empty=NO_TOKENS)


@token.command()
@click.argument("identifier")
@json_option
def revoke(identifier: str, *, as_json: bool) -> None:
    """Revoke the token with this id."""
    Client().revoke_token(identifier)
    print_json({"id": identifier}) if as_json else console.print(f"revoked {identifier}")
