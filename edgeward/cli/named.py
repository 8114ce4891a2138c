"""`NAME@VERSION`, and names of saved selectors: how commands name a version, and devices by their labels.

Decides how the text is split. Refuses to know whether the version exists: the controller knows it.
"""

import click

from contract.errors import BadInput, Code
from contract.names import check_name
from edgeward.client import Client

ONLY = "Only devices with this label, or with those of a saved selector; may repeat."
HOW = "A number, a semantic version, an alias, or newest; or write NAME@VERSION."


def split_name(text: str, release: str | None = None) -> tuple[str, str | None]:
    """(model, version or None) of `NAME` or `NAME@VERSION`; `release` is the version of an option, if it was given.

    BadInput `request_invalid` for both ways at once, or an empty part; `name_invalid` for what no model is called.
    """
    model, at, named = text.partition("@")
    if at and (not model or not named):
        raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected NAME or NAME@VERSION, as in weather@champion")
    if named and release:
        raise BadInput(Code.REQUEST_INVALID, f"{text!r} and --version {release} both name a version: leave one out")
    return check_name(model, "model"), named or release


def split_version(text: str) -> tuple[str, str]:
    """Returns (model, version) of `NAME@VERSION`. BadInput `request_invalid` if no version is named."""
    model, release = split_name(text)
    if release is None:
        raise BadInput(Code.REQUEST_INVALID, f"{text!r}: name the version too, as in {model}@champion or {model}@3")
    return model, release


def with_saved(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    """Replaces names of saved selectors by their labels. BadInput `request_invalid` for an invalid name."""
    found = []
    for word in words:
        saved = {} if "=" in word else Client().selector(word).labels
        found += [word] if "=" in word else [f"{key}={value}" for key, value in saved.items()]
    return tuple(found)
