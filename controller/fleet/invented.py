"""What a device says that its version cannot have: classes, columns and groups that it invents, labels of another task.

Decides which names a version has: those of its signed manifest, which also says whether labels are classes or numbers.
What stands under any other is left out and counted, so that one device, or whoever holds its key, adds no class and no
column to the figures of a version. Where a manifest does not name a version's classes, any class is taken. Refuses to
know what is done with counts and rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from contract.captured import CapturedRow
from contract.labels import Answer, plain_label
from contract.manifest import Manifest
from contract.messages import ModelInterval
from contract.protocol import MAX_FEATURES

OTHER = "other"
"""The name under which a device merges its rarest answers and its smallest groups."""
MAX_NAME_CHARS = 128
"""The most characters of a name in a message: a device cuts longer classes there."""
MAX_SHOWN_CHARS = 40

_NO_LABELS = {
    "labelled": 0, "correct": 0, "measured": 0, "absolute_error_sum": 0.0, "squared_error_sum": 0.0, "label_sum": 0.0,
    "squared_label_sum": 0.0,
}  # fmt: skip
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which devices may count."""

    columns: frozenset[str]
    classes: frozenset[Answer] | None
    """The classes; None if they are unknown, so that any class is accepted."""
    groups: frozenset[str]
    """The columns by whose values answers are counted."""
    cells: frozenset[str] = frozenset()
    """All columns: those that a captured row may have."""
    task: str = ""
    """The task in the manifest; empty: unknown."""


def names_of(manifest: Manifest) -> Names:
    """The names of one version. Classes are compared like labels: `1`, `1.0` and `true` are one class."""
    classes = frozenset(_plain(each) for each in manifest.classes)
    return Names(
        frozenset(manifest.columns[:MAX_FEATURES]),
        classes or None,
        frozenset(manifest.groups),
        frozenset(manifest.columns),
        manifest.task,
    )


def without_invented(interval: ModelInterval, names: Names) -> tuple[ModelInterval, tuple[str, ...]]:
    """Returns (the interval without counts under unknown names, those names in words)."""
    classes = () if names.classes is None else _foreign_classes(interval.predictions, names.classes)
    columns = tuple(sorted((interval.features.keys() | interval.breaches.keys()) - names.columns))
    groups = tuple(name for name in interval.groups if name != OTHER and name.partition("=")[0] not in names.groups)
    labels = _foreign_labels(interval, names.task)
    if not (classes or columns or groups or labels):
        return interval, ()
    kept = replace(
        interval,
        **(_NO_LABELS if labels else {}),
        predictions=_without(interval.predictions, classes),
        features=_without(interval.features, columns),
        breaches=_without(interval.breaches, columns),
        groups=_without(interval.groups, groups),
    )
    words = (("class", classes), ("column", columns), ("group", groups))
    return kept, (*(f"{what} {name[:MAX_SHOWN_CHARS]!r}" for what, found in words for name in found), *labels)


def without_invented_cells(row: CapturedRow, names: Names) -> tuple[CapturedRow, tuple[str, ...]]:
    """(the row without cells of columns that its version does not have, those columns in words)."""
    columns = tuple(sorted(row.inputs.keys() - names.cells))
    if not columns:
        return row, ()
    kept = {name: cell for name, cell in row.inputs.items() if name in names.cells}
    return replace(row, inputs=kept), tuple(f"column {name[:MAX_SHOWN_CHARS]!r}" for name in columns)


def _foreign_labels(interval: ModelInterval, task: str) -> tuple[str, ...]:
    """What a version's labels cannot be, in words: numbers for a classifier, hits of classes for a regression."""
    if task == "classification" and interval.measured:
        return ("labels that are numbers: it answers classes",)
    if task == "regression" and (interval.correct or interval.labelled != interval.measured):
        return ("labels that are classes: it answers numbers",)
    return ()


def _foreign_classes(said: Iterable[str], classes: frozenset[Answer]) -> tuple[str, ...]:
    return tuple(name for name in said if name != OTHER and _plain(name) not in classes)


def _plain(name: str) -> Answer:
    return plain_label(name[:MAX_NAME_CHARS])


def _without(counts: dict[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    return {name: each for name, each in counts.items() if name not in names} if names else counts
