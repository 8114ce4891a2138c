"""`edgeward certificate list | revoke | authorities | add-authority | retire-authority`."""

import click

from edgeward.answers.operators import Authority
from edgeward.answers.table import Table
from edgeward.cli.render import (
    csv_asked,
    csv_option,
    json_option,
    print_json,
    print_table,
    say_done,
    tell,
    when,
)
from edgeward.client import Client

NO_AUTHORITIES = "no authorities: the broker has no mutual TLS"

MAX_LISTED = 1000
"""Certificates that one answer of the controller holds."""
SOON_DAYS = 30
"""Certificates with fewer days left are listed by default: the controller's first warning has the same mark."""


@click.group()
def certificate() -> None:
    """Show certificates of devices and services, and the authorities behind them."""


@certificate.command(name="list")
@click.option("--subject", help='A device or a service; "svc.": services, "": all. Default: what expires soon.')
@csv_option
@json_option
def list_(subject: str | None, *, as_json: bool) -> None:
    """Certificates, newest first; without --subject those of devices and services that expire soon."""
    client = Client()
    found = client.expiring_certificates(SOON_DAYS) if subject is None else client.certificates(subject)
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (one.subject, one.authority, when(one.expires_at), "revoked" if one.revoked else "", one.serial)
        for one in found
    ]
    if rows or csv_asked():
        print_table("certificates", ("of", "by", "expires", "", "serial"), rows, empty="no certificates")
    if csv_asked():
        return
    if subject is None:
        tell(f"{len(rows) or 'none'} of {_count(client)} expires within {SOON_DAYS} days and has nothing newer")
        tell('all: edgeward certificate list --subject ""')
    elif not rows:
        tell(f"no certificates of {subject or 'anybody'}")


def _count(client: Client) -> str:
    """Returns the number of certificates; one answer holds no more than MAX_LISTED."""
    count = len(client.certificates(""))
    return f"{count} certificates" if count < MAX_LISTED else f"{count} certificates or more"


@certificate.command()
@click.argument("serial")
@json_option
def revoke(serial: str, *, as_json: bool) -> None:
    """Revoke one certificate. A service of the controller gets a new one at once."""
    ended = Client().revoke_certificate(serial)
    words = f"revoked {ended.serial} of {ended.subject}"
    say_done(words, facts=ended.plain, as_json=as_json)


@certificate.command()
@csv_option
@json_option
def authorities(*, as_json: bool) -> None:
    """List the authorities of devices and of the broker."""
    _show(Client().authorities(), as_json=as_json)


@certificate.command(name="add-authority")
@json_option
def add_authority(*, as_json: bool) -> None:
    """Make another authority. It issues from now on; devices accept it when they renew."""
    _show(Client().add_authority(), as_json=as_json)


@certificate.command(name="retire-authority")
@click.argument("name")
@click.option("--force", is_flag=True, help="Even if devices have no other certificate; they then need new claims.")
@json_option
def retire_authority(name: str, *, force: bool, as_json: bool) -> None:
    """End trust in an authority that no device needs any more."""
    _show(Client().retire_authority(name, force=force), as_json=as_json)


def _show(found: Table[Authority], *, as_json: bool) -> None:
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (one.name, "retired" if not one.trusted else "issues" if one.issues else "", when(one.expires_at), one.devices)
        for one in found
    ]
    print_table("authorities", ("name", "", "expires", "devices that have nothing else"), rows, empty=NO_AUTHORITIES)
