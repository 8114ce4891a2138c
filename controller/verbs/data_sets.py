"""Data sets of captured rows: made, compared, deleted, and kept only as long as requested.

Decides which captured rows go into a version and what is audited. Refuses to know HTTP, and how rows are stored.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from contract.captured import CapturedRow
from contract.errors import BadInput, Code, WorldError
from controller.clock import stamp, stamp_of
from controller.registry.captures import Captures, Refusing
from controller.registry.data_sets import DataSet, DataSets, RowsFile, columns_of, rows_file
from controller.state import State
from controller.verbs.audit import CONTROLLER
from controller.verbs.versions import devices_by_release

DAY_S = 86_400.0
LOOK_S = 60.0
"""Seconds between two checks for versions that have been kept long enough."""
MAX_LABELS = 20
"""Labels that a comparison counts by name."""
MAX_READINGS = 5
"""How often rows are read for one version, because people ask for deletions meanwhile."""
MAX_MEANS = 512
"""Columns whose means a comparison looks at: as many as a captured row may have."""


class RowsWanted(msgspec.Struct, frozen=True):
    """The captured rows of a model from which a version is made."""

    model: str
    since: float = 0.0
    """Seconds since 1970, as is `until`."""
    until: float = 0.0
    """0: no end."""
    labelled: bool = False
    """Only rows with a label."""
    remove: tuple[str, ...] = ()
    """Columns to leave out, for privacy: inputs, or `_key`, `_answer`."""
    keep_days: float = 0.0
    """Days after which the version is deleted automatically; 0: never."""


class DataComparison(msgspec.Struct, frozen=True):
    """What differs between two versions of a data set."""

    before: str
    after: str
    added: int
    """Rows of the second that the first does not have, by their id."""
    gone: int
    relabelled: int
    """Rows of both whose labels differ."""
    columns_added: tuple[str, ...]
    columns_gone: tuple[str, ...]
    types_changed: dict[str, str]
    labels: dict[str, tuple[int, int]]
    """The number of rows by label in the first and in the second."""
    means: dict[str, tuple[float, float]]
    """The means of numeric columns whose means differ."""


class TrainedOn(msgspec.Struct, frozen=True):
    """A version of a model that was trained on rows of a data set."""

    model: str
    release: int
    created_at: str
    created_by: str
    run: str
    """The id of the run that made it; empty: unknown."""
    devices: int
    """How many devices run it now."""


async def make(state: State, name: str, wanted: RowsWanted, *, actor: str) -> tuple[DataSet, bool]:
    """Makes the next version of a data set; returns (the version, whether it is new). BadInput for no rows.

    Rows are read and the file is made in a thread, one call after the other; WorldError `busy` after a long wait.
    """
    state.registry.versions(wanted.model)
    async with state.data_turns.turn():
        file = await _file_without_refused(state, wanted)
        now = time.time()
        about = DataSet(
            name=name, version=0, model=wanted.model, created_at=stamp(), created_by=actor, sha256="", rows=0,
            labelled=0, size_bytes=0, columns={}, removed=wanted.remove,
            keep_until=now + wanted.keep_days * DAY_S if wanted.keep_days else 0.0,
        )  # fmt: skip
        made, is_new = state.data_sets.put(about, file)
    if is_new:
        state.journal.audit(stamp(), actor, "data make", made.reference, f"{made.rows} rows, {made.sha256}")
    return made, is_new


async def _file_without_refused(state: State, wanted: RowsWanted) -> RowsFile:
    """Rows of a deletion that is under way are still there; of one that is asked for meanwhile they are read anew."""
    for _ in range(MAX_READINGS):
        refused = state.captures.refused
        file = await asyncio.to_thread(_file, state.captures, wanted, refused)
        if state.captures.refused is refused:
            return file
    raise WorldError(Code.BUSY, "rows are being deleted: try again later")


def _file(captures: Captures, wanted: RowsWanted, refused: Sequence[Refusing]) -> RowsFile:
    rows = [
        columns_of(number, device, row, wanted.remove)
        for number, device, row in captures.every_row(wanted.model)
        if _is_wanted(row, wanted) and not any(each.refuses(device, row) for each in refused)
    ]
    if not rows:
        words = f"devices kept no rows of {wanted.model} that fit: see [[capture]] in agent.toml, --since, --labelled"
        raise BadInput(Code.REQUEST_INVALID, words)
    return rows_file(rows)


def _is_wanted(row: CapturedRow, wanted: RowsWanted) -> bool:
    in_time = row.at >= wanted.since and not (wanted.until and row.at >= wanted.until)
    return in_time and (row.label is not None or not wanted.labelled)


def delete(state: State, reference: str, *, actor: str) -> DataSet:
    """Deletes the rows of one version. Captured rows stay: `erasures.request` deletes those."""
    found = state.data_sets.find(reference)
    if not found.sha256:
        return found
    gone = state.data_sets.delete(found, at=stamp(), why=f"deleted by {actor}")
    state.journal.audit(stamp(), actor, "data delete", found.reference, f"{found.rows} rows, {found.sha256}")
    return gone


def trained_on(state: State, reference: str) -> list[TrainedOn]:
    """Returns every version of a model whose lineage names a data set, the newest first. BadInput
    `unknown_data_set`.
    """
    name, found = state.data_sets.find(reference).reference, []
    for model in state.registry.models():
        mine = [each for each in state.registry.versions(model) if name in each.lineage.data_sets]
        running = devices_by_release(state, model) if mine else {}
        for version in mine:
            made, devices = version.lineage, len(running.get(version.release, ()))
            found.append(TrainedOn(model, version.release, made.created_at, made.created_by, made.run, devices))
    return sorted(found, key=lambda each: (each.created_at, each.release), reverse=True)


def keep_retention(state: State) -> None:
    """Deletes versions that have been kept long enough. Looks once a minute."""
    if time.monotonic() < state.data_look_at:
        return
    state.data_look_at = time.monotonic() + LOOK_S
    for each in state.data_sets.all():
        if each.sha256 and each.keep_until and each.keep_until < time.time():
            why = f"kept until {stamp_of(each.keep_until)}"
            state.data_sets.delete(each, at=stamp(), why=why)
            state.journal.audit(stamp(), CONTROLLER, "data expire", each.reference, f"{each.rows} rows; {why}")


def lost_rows(state: State, references: Iterable[str], since: float | None) -> dict[str, str]:
    """Returns by data set, in words, which rows it lost although a training that read it at `since` or later may have
    used them.

    `since` None: it is unknown when it was read; then only a version without any row left counts. Names that this
    controller does not know are ignored.
    """
    known = {each.reference: each for each in state.data_sets.all()}
    asked = [each for each in state.erasures.all() if since is not None and each.asked_at >= since]
    found = {}
    for name in references:
        mine = [each for each in asked if name in each.data_sets]
        if name in known and not known[name].sha256:
            found[name] = f"all rows at {known[name].deleted_at}, {known[name].deleted_why}"
        elif mine:
            found[name] = ", ".join(f"{each.data_sets[name]} rows by deletion {each.order.id}" for each in mine)
    return found


async def compare(state: State, before: str, after: str) -> DataComparison:
    """Returns what differs between two versions. BadInput `unknown_data_set` if rows are deleted.

    It reads in a thread, one call after the other; WorldError `busy` after a long wait.
    """
    first, second = (state.data_sets.find(each) for each in (before, after))
    async with state.data_turns.turn():
        return await asyncio.to_thread(_compared, state.data_sets, first, second)


def _compared(store: DataSets, first: DataSet, second: DataSet) -> DataComparison:
    """Compares column by column: two versions of a million rows each are never in memory as a whole."""
    for each in (first, second):
        store.check(each)
    old, new = (_labels_by_id(store, each) for each in (first, second))
    types = {
        name: f"{first.columns[name]} -> {second.columns[name]}"
        for name in first.columns
        if name in second.columns and first.columns[name] != second.columns[name]
    }
    return DataComparison(
        first.reference,
        second.reference,
        added=len(new.keys() - old.keys()),
        gone=len(old.keys() - new.keys()),
        relabelled=sum(old[each] != new[each] for each in old.keys() & new.keys()),
        columns_added=tuple(sorted(second.columns.keys() - first.columns.keys())),
        columns_gone=tuple(sorted(first.columns.keys() - second.columns.keys())),
        types_changed=types,
        labels=_labels(old, new),
        means=_means(store, first, second),
    )


def _labels_by_id(store: DataSets, data_set: DataSet) -> dict[Any, Any]:
    ids, labels = (store.column(data_set, name).to_pylist() for name in ("_id", "_label"))
    return dict(zip(ids, labels, strict=True))


def _labels(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[str, tuple[int, int]]:
    before, after = (Counter(label for label in rows.values() if label is not None) for rows in (old, new))
    most = (before + after).most_common(MAX_LABELS)
    return {label: (before[label], after[label]) for label, _ in most}


def _means(store: DataSets, first: DataSet, second: DataSet) -> dict[str, tuple[float, float]]:
    """Means of columns of numbers, of at most `MAX_MEANS` columns by name."""
    found = {}
    shared = sorted(name for name in first.columns.keys() & second.columns.keys() if not name.startswith("_"))
    for name in shared[:MAX_MEANS]:
        pair = (_mean(store, first, name), _mean(store, second, name))
        if pair[0] is not None and pair[1] is not None and pair[0] != pair[1]:
            found[name] = (pair[0], pair[1])
    return found


def _mean(store: DataSets, data_set: DataSet, name: str) -> float | None:
    """The mean of a column of numbers; None for other columns, and without a finite mean."""
    if not data_set.columns[name].startswith(("double", "float", "int", "uint", "bool")):
        return None
    cells = [cell for cell in store.column(data_set, name).to_pylist() if cell is not None]
    mean = math.fsum(cell / len(cells) for cell in cells) if cells else None  # divided first: a sum could be infinite
    return mean if mean is not None and math.isfinite(mean) else None
