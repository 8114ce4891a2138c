"""Prints each step of `edgeward demo loop` as it happens, then the plot and the controller's explanation.

Exit code 1 if the controller's API contradicts a claim.
"""

import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.text import Text

from contract.errors import BadInput, Code, EdgewardError, WorldError
from edgeward.cli.render import console, json_option, print_json
from edgeward.demo.hanging import MAX_COLUMNS, Tell, print_hanging
from edgeward.demo.loop.accuracy import SMOOTHED_S
from edgeward.demo.loop.claims import Claim, claims_of, figures_of
from edgeward.demo.loop.picture import write_picture
from edgeward.demo.loop.story import DEVICES, MODEL, Loop
from edgeward.demo.processes import Site, wait_for
from edgeward.runs.plot import picture


@click.command()
@click.option("--broker", default="auto", show_default=True, help="auto, mosquitto, embedded, or mqtt://host:port.")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), default=Path("edgeward-loop.png"), show_default=True,
    help="Where the plot is saved.",
)  # fmt: skip
@click.option(
    "--keep", "kept", type=click.Path(file_okay=False, path_type=Path),
    help="An empty or new directory in which everything stays, the runs of the worker too.",
)  # fmt: skip
@json_option
def loop(broker: str, png: Path, kept: Path | None, *, as_json: bool) -> None:
    """A real drift, and a fleet that recovers: cause, proposal, candidate, gates, shadow, canary, without commands."""
    began_s = time.monotonic()

    def tell(words: str, *, bold: bool = False) -> None:
        if not as_json:
            print_hanging(f"{time.monotonic() - began_s:5.1f} s  ", words, bold=bold)

    site = Site(_directory(kept), broker=broker)
    told: Loop | None = None
    try:
        told = _tell_story(site, tell, began_s)
        claims = claims_of(told)
        _draw(told, png, tell)
        _conclude(told, claims, png, as_json=as_json)
    finally:
        if told is not None:
            told.stop()
        site.stop()
        if kept is None:
            shutil.rmtree(site.directory, ignore_errors=True)
    if kept is not None and not as_json:
        runs = kept / "runs"
        console.print(f"the champion's run: edgeward run list --dir {runs}", soft_wrap=True)
    sys.exit(0 if all(claim.holds for claim in claims) else 1)


def _directory(kept: Path | None) -> Path:
    """Returns the directory of the demo. BadInput `config_invalid` for a directory that is not empty."""
    if kept is None:
        return Path(tempfile.mkdtemp(prefix="edgeward-loop-"))
    if kept.exists() and any(kept.iterdir()):
        raise BadInput(Code.CONFIG_INVALID, f"{kept} is not empty: --keep takes a new directory, or an empty one")
    kept.mkdir(parents=True, exist_ok=True)
    return kept.absolute()


def _tell_story(site: Site, tell: Tell, began_s: float) -> Loop:
    ports = [free_port() for _ in range(DEVICES)]
    site.rows_of = lambda number: f'[serving]\nlisten = "127.0.0.1:{ports[number - 1]}"\n'
    tell("starting the controller, its broker and five agents")
    client = site.start_controller()
    for number in range(1, DEVICES + 1):
        site.start_agent(number)
    wait_for("all devices online", lambda: sum(e.presence == "online" for e in client.devices()) == DEVICES)
    story = Loop(site, client, tell, ports, began_s)
    try:
        story.install()
        story.hand_over()
        story.begin()
        story.watch()
    except EdgewardError:
        story.stop()
        raise
    return story


def free_port() -> int:
    """A port of this machine on which no program listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _draw(story: Loop, png: Path, tell: Tell) -> None:
    """Draws the plot in the terminal, which is part of the summary; the PNG is omitted without a library that can
    draw it.
    """
    series = story.accuracy.series()
    attempt = story.attempt
    marks = [(story.turns_at, "spring")]
    if attempt is not None:
        marks.append((story.told_at("decided"), "proposal"))
        marks.append((story.told_at("ended"), "gates"))
    marks += [(story.told_at("wave 1"), "shadow"), (story.told_at("wave 2"), "canary"), (story.recovered_at, "all")]
    try:
        alone = [
            (at_s, story.accuracy_of_v1(at_s - SMOOTHED_S, at_s))
            for at_s, _ in series
            if at_s > story.told_at("wave 1")
        ]
        write_picture(series, alone, [mark for mark in marks if mark[0]], story.turns_at, png)
    except EdgewardError as error:
        tell(f"no PNG: {error.detail}")
    except OSError as error:
        raise WorldError(Code.DISK_FAILED, f"{png}: {error.strerror}") from None


def _conclude(story: Loop, claims: list[Claim], png: Path, *, as_json: bool) -> None:
    figures = figures_of(story)
    if as_json:
        print_json({"figures": figures, "claims": [vars(claim) for claim in claims]})
        return
    console.print()
    for line in picture(story.accuracy.series(), columns=MAX_COLUMNS):
        console.print(line, no_wrap=True)
    console.print("             accuracy of the fleet, by seconds\n")
    for claim in claims:
        print_hanging("yes  " if claim.holds else "NO   ", claim.words)
    before, worst, after = (f"{figures[name]:.2f}" for name in ("before", "worst", "after"))
    accuracy = f"\naccuracy before {before}, at its worst {worst}, after {after}; hands used: "
    words = Text.assemble(accuracy, (f"{figures['hands']}", "bold"), f"; {figures['took_s']:.0f} s")
    console.print(words, width=MAX_COLUMNS)
    if png.exists():
        console.print(f"the plot: {png}")
    console.print(f"data: Chen 2015, Beijing PM2.5, CC BY 4.0 ({MODEL})", style="dim")
