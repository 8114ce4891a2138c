"""Names that a shell completes: models with their versions, devices, rollouts.

Decides the kind of name of each argument and option. Refuses to know how a shell requests names; if the controller
does not answer, nothing is completed or printed.
"""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from contract.errors import EdgewardError
from edgeward.client import Client

MAX_NAMES = 200
"""Names that are offered: more than a screen shows, and one page of a fleet of any size."""


class _Named(click.types.StringParamType):
    """A text that a shell completes from the names that `found` returns for the typed beginning."""

    def __init__(self, found: Callable[[Client, str], list[str]]) -> None:
        self._found = found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Returns the names with the typed beginning (called by click)."""
        try:
            names = self._found(Client(), incomplete)
        except (EdgewardError, OSError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)][:MAX_NAMES]


def _models(client: Client, typed: str) -> list[str]:
    model, at, _ = typed.partition("@")
    if not at:
        return [each.name for each in client.models()]
    versions = [str(each.release) for each in client.versions(model)]
    return [f"{model}@{name}" for name in [*(each.alias for each in client.aliases(model)), "newest", *versions]]


def _devices(client: Client, typed: str) -> list[str]:
    return [each.device for each in client.devices(text=typed, limit=MAX_NAMES)]


def _rollouts(client: Client, _: str) -> list[str]:
    return [each.id for each in client.rollouts()]


def _selectors(client: Client, _: str) -> list[str]:
    return [each.name for each in client.selectors()]


def _templates(client: Client, _: str) -> list[str]:
    return [each.name for each in client.templates()]


_KINDS = {
    ("model", "name"): _models, ("version", "model"): _models, ("rollout", "model"): _models,
    ("trust", "model"): _models, ("retrain", "model"): _models, ("retrain", "named"): _models,
    ("telemetry", "model"): _models, ("label", "model"): _models, ("report", "model"): _models,
    ("lineage", "name"): _models, ("selector", "name"): _selectors, ("template", "name"): _templates,
    ("device", "name"): _devices, ("device", "names"): _devices, ("device", "words"): _devices,
    ("rollout", "rollout_id"): _rollouts, ("rollout", "left"): _rollouts, ("rollout", "right"): _rollouts,
}  # fmt: skip
"""The kind of name of an argument, by the group of commands and the argument's name."""
_OPTIONS = {"--model": _models, "--selector": _selectors, "--device": _devices, "--template": _templates}
"""The kind of name of an option, in every group."""


def complete_names(group: click.Command) -> None:
    """Makes a shell complete the arguments and options of a group's commands."""
    for command in group.commands.values() if isinstance(group, click.Group) else ():
        for each in command.params:
            found = _named_by(group.name or "", each)
            if found is not None and each.type is click.STRING:
                each.type = _Named(found)


def _named_by(group: str, parameter: click.Parameter) -> Callable[[Client, str], list[str]] | None:
    if isinstance(parameter, click.Argument):
        return _KINDS.get((group, parameter.name or ""))
    return next((_OPTIONS[option] for option in parameter.opts if option in _OPTIONS), None)
