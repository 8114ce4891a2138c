"""The model, the device and the rollout in a command line, for the command that an error recommends.

Decides which argument is a model and which a device. Refuses to know errors, and runs nothing of the command.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

NAME_IS_MODEL = frozenset({"model", "lineage", "automl"})
"""Groups of commands whose NAME is a model; the NAME of `device` is a device."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The model, the device and the rollout in a command line; empty if it has none."""

    model: str = ""
    version: str = ""
    """`NAME@VERSION`, or the name alone if no version is named."""
    device: str = ""
    rollout: str = ""


def asked_by(root: click.Group, arguments: Sequence[str]) -> Asked:
    """Returns the names in `arguments`. Values of options are distinguished from names by the command's own parser."""
    at, rest, path = _leaf(root, arguments)
    try:
        given: dict[str, Any] = at.make_parser(click.Context(at, resilient_parsing=True)).parse_args(rest)[0]
    except click.ClickException:
        return Asked()
    name, first = _first(given, "reference", "name", "names"), path[0] if path else ""
    model = _first(given, "model") or (name if first in NAME_IS_MODEL else "")
    release = _first(given, "release")
    version = f"{model}@{release}" if release and "@" not in model else model
    return Asked(model.partition("@")[0], version, name if first == "device" else "", _first(given, "rollout_id"))


def _leaf(root: click.Group, arguments: Sequence[str]) -> tuple[click.Command, list[str], list[str]]:
    """Returns (the command, the arguments after its words, its words)."""
    at: click.Command = root
    rest, path = [*arguments], []
    while isinstance(at, click.Group) and rest:
        word = rest.pop(0)
        if word in at.commands:
            at = at.commands[word]
            path.append(word)
    return at, rest, path


def _first(given: dict[str, Any], *names: str) -> str:
    """The first text among arguments of these names; of several values the first."""
    for name in names:
        value = given.get(name)
        value = value[0] if isinstance(value, list | tuple) and value else value
        if isinstance(value, str) and value:
            return value
    return ""
