"""Commands that are imported when they are called, so that one command does not wait for the imports of all others.

Decides when a command's module is imported. Refuses to know which commands there are.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping

import click


class NamedCommands(MutableMapping[str, click.Command]):
    """Commands by their name. `homes` has the module of each, which contains it under that name.

    `ready` is called once with each command, before its first use.
    """

    def __init__(self, homes: Mapping[str, str], ready: Callable[[click.Command], None]) -> None:
        self._homes = homes
        self._ready = ready
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        """Returns the command; KeyError for an unknown name."""
        if name not in self._loaded:
            command: click.Command = getattr(importlib.import_module(self._homes[name]), name)
            self._ready(command)
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        """Adds a command that is already imported."""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        """Removes a command that was added; those of `homes` stay."""
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of all commands, imported or not."""
        return iter({**self._homes, **self._loaded})

    def __len__(self) -> int:
        """Returns the number of commands."""
        return len({**self._homes, **self._loaded})
