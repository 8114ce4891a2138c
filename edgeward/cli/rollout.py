"""`edgeward rollout start | watch | list | pause | resume | abort`."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from contract.errors import BadInput, Code
from edgeward.cli.model import pairs
from edgeward.cli.render import console, json_option, print_json, rollout_panel, table
from edgeward.client import Client, RolloutHandle


@click.group()
def rollout() -> None:
    """Bring a version to devices, wave by wave."""


@rollout.command()
@click.argument("model")
@click.option("--version", "release", type=int, help="Default: the newest released.")
@click.option("--strategy", default="canary", show_default=True, help="A name, or a TOML file as in configs/rollouts.")
@click.option("--select", "selectors", multiple=True, metavar="LABEL=VALUE", help="Only devices with this label.")
@click.option("--watch", "watching", is_flag=True, help="Stay until it has ended.")
@json_option
def start(
    model: str, release: int | None, strategy: str, selectors: tuple[str, ...], *, watching: bool, as_json: bool
) -> None:
    """Start a rollout of MODEL."""
    handle = Client().rollout(model, release=release, strategy=read_strategy(strategy), selector=pairs(selectors))
    _finish(handle, watching=watching, as_json=as_json)


@rollout.command()
@click.argument("rollout_id")
@json_option
def watch(rollout_id: str, *, as_json: bool) -> None:
    """Follow a rollout until it has ended. Exit code 1 if it did not complete."""
    _finish(Client().open_rollout(rollout_id), watching=True, as_json=as_json)


@rollout.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """All rollouts, newest first."""
    rollouts = Client().rollouts().to_dict("records")
    if as_json:
        print_json(rollouts)
        return
    rows = [(r["id"], f"{r['model']} v{r['release']}", r["strategy"], r["status"], r["reason"]) for r in rollouts]
    console.print(table("rollouts", ("id", "version", "strategy", "status", "reason"), rows))


def _steering(verb: str, words: str) -> click.Command:
    @click.command(name=verb, help=words)
    @click.argument("rollout_id")
    @json_option
    def steer(rollout_id: str, *, as_json: bool) -> None:
        view = getattr(Client().open_rollout(rollout_id), verb)()
        print_json(view) if as_json else console.print(rollout_panel(view))

    return steer


rollout.add_command(_steering("approve", "Let a rollout start that somebody else has proposed."))
rollout.add_command(_steering("pause", "Stop starting devices; what is under way goes on."))
rollout.add_command(_steering("resume", "Go on; failures known by now no longer count."))
rollout.add_command(_steering("abort", "Stop, and set touched devices back to their last confirmed release."))


def read_strategy(given: str) -> str | dict[str, Any]:
    """A strategy's name, or the fields in a TOML file; BadInput `strategy_invalid`."""
    path = Path(given)
    if path.suffix != ".toml":
        return given
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadInput(Code.STRATEGY_INVALID, f"{path}: {error}") from None


def _finish(handle: RolloutHandle, *, watching: bool, as_json: bool) -> None:
    view = handle.show()
    if watching and as_json:
        view = handle.wait()
    elif watching:
        view = _follow(handle)
    elif not as_json:
        console.print(rollout_panel(view))
        console.print(f"next: edgeward rollout watch {handle.id}", highlight=False)
    if as_json:
        print_json(view)
    if watching and view["status"] != "completed":
        sys.exit(1)


def _follow(handle: RolloutHandle) -> dict[str, Any]:
    view: dict[str, Any] = {}
    with Live(console=console, refresh_per_second=4) as live:
        for view in handle.watch():
            live.update(rollout_panel(view))
    return view
