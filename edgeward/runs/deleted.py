"""Rows that runs on this machine keep and that were deleted at the controller: they go here as well.

Decides that a run forgets all rows of a data set that lost some: which of them the run had is not known here. Results
of pipelines' steps that hold such rows go with them. Refuses to know who asked.
"""

import msgspec

from edgeward.runs.record import Record
from edgeward.runs.store import RunStore


def forget_rows(store: RunStore, data_sets: frozenset[str]) -> list[str]:
    """Deletes kept rows that came from these data sets (`NAME@VERSION`); the ids of the runs that had some."""
    return [record.id for record in store.all() if data_sets and _forget(store, record, data_sets)]


def _forget(store: RunStore, record: Record, data_sets: frozenset[str]) -> bool:
    wrong = [each for each in record.data if each.data_set in data_sets and each.kept_sha256]
    for each in wrong:
        store.remove(each.kept_sha256)
    if wrong and record.status != "running":
        data = tuple(msgspec.structs.replace(d, kept_sha256="") if d in wrong else d for d in record.data)
        store.save(msgspec.structs.replace(record, data=data))
    return bool(wrong)
