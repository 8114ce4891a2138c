"""Opens the page in the browser if there is one, otherwise prints its address.

Decides how the browser gets the token: by a file that only its owner can read and that is soon deleted. In a
command line every user of the machine could read it. Refuses to know what the page shows.
"""

import getpass
import html
import os
import sys
import tempfile
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import click

from edgeward.settings import Settings, find_settings

FILE_S = 5.0
"""Seconds for which the file exists: a browser that has to start first takes two or three."""
_FORWARD = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Edgeward</title>'
    '<meta http-equiv="refresh" content="0; url={address}"><p><a href="{address}">Open the page</a>\n'
)


@click.command()
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open no browser.")
def page(only_print: bool) -> None:
    """Open the page in the browser, with the token; without a browser, print its address.

    The token is after a # in the address, which browsers do not send. The page removes it at once and keeps a session
    in its place. Keep a printed address secret.
    """
    found = find_settings()
    if only_print or not has_browser(os.environ, sys.platform, is_terminal=sys.stdout.isatty()):
        click.echo(address_of(found, getpass.getuser()))
        return
    if not open_by_file(address_of(found, getpass.getuser())):
        click.echo("the browser could not be started; `edgeward page --print` prints the address", err=True)
        raise SystemExit(1)
    click.echo(f"opened {found.url}/ in the browser")


def address_of(found: Settings, actor: str) -> str:
    """The page's address with the token, and with the name that the audit gives to a holder of the local token."""
    return f"{found.url}/#token={quote(found.token)}&actor={quote(actor)}"


def has_browser(environment: Mapping[str, str], platform: str, *, is_terminal: bool) -> bool:
    """Returns whether a person at this terminal would see a window. A shell by ssh has no display."""
    if not is_terminal or environment.get("SSH_CONNECTION"):
        return False
    if platform not in ("darwin", "win32") and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def open_by_file(address: str, wait_s: float = FILE_S) -> bool:
    """Opens a file that forwards to the address, and deletes it a moment later."""
    with tempfile.TemporaryDirectory(prefix="edgeward-") as directory:  # only its owner can enter it
        forward = Path(directory) / "page.html"
        forward.write_text(_FORWARD.format(address=html.escape(address)), encoding="utf-8")
        opened = webbrowser.open(forward.as_uri())
        if opened:
            time.sleep(wait_s)
    return opened
