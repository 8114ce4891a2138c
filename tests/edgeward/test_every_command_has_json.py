"""Every command answers as JSON where a script asks for it, or stands here with the reason why it does not."""

from collections.abc import Iterator

import click

from edgeward.cli.main import cli

WITHOUT = {
    "completion": "prints a script for a shell",
    "model policy": "prints JSON, always",
    "page": "opens a browser, or prints one address",
    "pipeline logs": "prints what a step printed, as it is",
    "pipeline schedule": "runs until somebody ends it; each run is a stored run",
    "retrain worker": "runs until somebody ends it; each attempt is on the controller",
    "rollout events": "prints JSON, a CloudEvent a line",
    "run plot": "draws; `run show --json` has the numbers",
    "top": "fills the screen; `fleet --json` and `rollout list --json` have the facts",
}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yields (words, command) of everything that does something, also groups that work without a word behind them."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from leaves(each, (*path, name))
    if path and (not isinstance(command, click.Group) or command.invoke_without_command):
        yield " ".join(path), command


def test_every_command_answers_as_json_or_says_why_not() -> None:
    every = dict(leaves(cli))
    assert len(every) > 140, "the walk has found the commands"
    silent = {name for name, each in every.items() if not any("--json" in option.opts for option in each.params)}
    assert silent == set(WITHOUT)
