"""`edgeward top`: the fleet, live in the terminal; one frame if there is no terminal."""

import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.live import Live

from contract.errors import WorldError
from edgeward.cli.render import console
from edgeward.client import Client
from edgeward.settings import find_settings
from edgeward.top.frame import frame
from edgeward.top.seen import Seen, look

QUIT = ("q", "Q", "\x1b", "\x03")
"""q, Escape and Ctrl-C."""


@click.command()
@click.option("--every", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Print one frame and end.")
def top(*, every: float, once: bool) -> None:
    """Show the fleet live: presence, versions, inferences, rollouts, alerts. q quits."""
    client, url = Client(), find_settings().url
    seen = look(client, url, datetime.now(UTC))
    if once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        console.print(frame(seen))
        return
    with _keys() as waits, Live(frame(seen), console=console, screen=True, auto_refresh=False) as live:
        while not waits(every):
            seen = _again(client, url, seen)
            live.update(frame(seen), refresh=True)


def _again(client: Client, url: str, before: Seen) -> Seen:
    """Returns a new view; the former one with the reason if the controller does not answer."""
    try:
        return look(client, url, datetime.now(UTC))
    except WorldError as error:
        return replace(before, error=f"{error.code}: {error.detail}"[:200])


@contextmanager
def _keys() -> "Iterator[_Waits]":
    """Reads single keys while the block lasts, and restores the terminal afterwards."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _Waits()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class _Waits:
    """Waits for a key that quits."""

    def __call__(self, seconds: float) -> bool:
        """Whether such a key came within `seconds`; another key ends the wait at once."""
        try:
            ready, _, _ = select.select([sys.stdin], [], [], seconds)
        except KeyboardInterrupt:
            return True
        return bool(ready) and sys.stdin.read(1) in QUIT
