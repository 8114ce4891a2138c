"""Counts of a device under names that its version does not have: classes, columns and groups that it invents.

Decides which names a version has: those of its signed manifest. Counts under other names are left out and counted,
so that one device, or a thief of its key, cannot add a class or column to the figures of a version. If a manifest
does not name a version's classes, every class is accepted. Refuses to know how counts are used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from contract.labels import Answer, plain_label
from contract.manifest import Manifest
from contract.messages import ModelInterval
from contract.protocol import MAX_FEATURES

OTHER = "other"
"""The name under which a device merges its rarest answers and its smallest groups."""
MAX_NAME_CHARS = 128
"""The most characters of a name in a message: a device cuts longer classes there."""
MAX_SHOWN_CHARS = 40

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which devices may count."""

    columns: frozenset[str]
    classes: frozenset[Answer] | None
    """The classes; None if they are unknown, so that any class is accepted."""
    groups: frozenset[str]
    """The columns by whose values answers are counted."""


def names_of(manifest: Manifest) -> Names:
    """The names of one version. Classes are compared like labels: `1`, `1.0` and `true` are one class."""
    classes = frozenset(_plain(each) for each in manifest.classes)
    return Names(frozenset(manifest.columns[:MAX_FEATURES]), classes or None, frozenset(manifest.groups))


def without_invented(interval: ModelInterval, names: Names) -> tuple[ModelInterval, tuple[str, ...]]:
    """Returns (the interval without counts under unknown names, those names in words)."""
    classes = () if names.classes is None else _foreign_classes(interval.predictions, names.classes)
    columns = tuple(sorted((interval.features.keys() | interval.breaches.keys()) - names.columns))
    groups = tuple(name for name in interval.groups if name != OTHER and name.partition("=")[0] not in names.groups)
    if not (classes or columns or groups):
        return interval, ()
    kept = replace(
        interval,
        predictions=_without(interval.predictions, classes),
        features=_without(interval.features, columns),
        breaches=_without(interval.breaches, columns),
        groups=_without(interval.groups, groups),
    )
    words = (("class", classes), ("column", columns), ("group", groups))
    return kept, tuple(f"{what} {name[:MAX_SHOWN_CHARS]!r}" for what, found in words for name in found)


def _foreign_classes(said: Iterable[str], classes: frozenset[Answer]) -> tuple[str, ...]:
    return tuple(name for name in said if name != OTHER and _plain(name) not in classes)


def _plain(name: str) -> Answer:
    return plain_label(name[:MAX_NAME_CHARS])


def _without(counts: dict[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    return {name: each for name, each in counts.items() if name not in names} if names else counts
