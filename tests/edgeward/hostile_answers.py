"""A controller all of whose texts are hostile: every method of the client answers its type, filled with one text.

Decides how a type is filled. Refuses to know what commands print.
"""

import inspect
import types
import typing
from collections import abc
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from edgeward.answers.answer import Answer
from edgeward.answers.table import Table
from edgeward.client import Client
from edgeward.rollout_handle import RolloutHandle

TEXT = "[red]mallory[/] :smile: [/no]"
"""As a device, a person or the controller may write it: a colour, an end without a beginning, an emoji."""
PLAIN: dict[Any, Any] = {
    str: TEXT, int: 3, float: 0.5, bool: True, bytes: b"x", datetime: datetime(2026, 11, 27, tzinfo=UTC),
    type(None): None, Any: TEXT, object: TEXT,
}  # fmt: skip
MAX_DEPTH = 8


def filled(kind: Any, depth: int = 0) -> Any:
    """A value of a type, with the text wherever there may be one. LookupError for a type that no answer has."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return filled(next(each for each in arguments if each is not type(None)), depth)
    if origin in (typing.Literal, typing.Annotated):
        return arguments[0] if origin is typing.Literal else filled(arguments[0], depth)
    if origin in (tuple, list, Table, abc.Iterator, abc.Iterable, abc.Sequence):
        return _sequence(origin, arguments, depth)
    if origin in (dict, abc.Mapping):
        return {filled(arguments[0], depth): filled(arguments[1], depth + 1)}
    return _object(kind, depth)


def _object(kind: Any, depth: int) -> Any:
    if isinstance(kind, type) and issubclass(kind, RolloutHandle):
        handle = kind.__new__(kind)
        handle.id = TEXT
        return handle
    if isinstance(kind, type) and issubclass(kind, Answer):
        hints = typing.get_type_hints(kind, include_extras=True)
        names = [each.name for each in msgspec.structs.fields(kind)]
        return kind(**{name: filled(hints[name], depth + 1) for name in names})
    raise LookupError(kind)


def _sequence(origin: Any, arguments: tuple[Any, ...], depth: int) -> Any:
    if depth > MAX_DEPTH:
        return ()
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(filled(each, depth + 1) for each in arguments)
    one = filled(arguments[0], depth + 1)
    return (
        Table([one])
        if origin is Table
        else iter([one])
        if origin is abc.Iterator
        else (list if origin is list else tuple)([one])
    )


def make_hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every client answer so. A method without such a type stays, and has no controller."""
    monkeypatch.setattr(Client, "__init__", lambda self, *_, **__: None)
    for home in (Client, RolloutHandle):
        for name, method in inspect.getmembers(home, inspect.isfunction):
            if not name.startswith("_"):
                _replace(monkeypatch, home, name, method)


def _replace(monkeypatch: pytest.MonkeyPatch, home: type, name: str, method: Any) -> None:
    try:
        kind = typing.get_type_hints(method)["return"]
        filled(kind)
    except (LookupError, NameError, TypeError):
        return
    monkeypatch.setattr(home, name, lambda *_, **__: filled(kind))
