"""Deletes rows in runs on this machine that were deleted at the controller.

Decides that a run loses all rows of a data set that lost some: which of them the run had is not known here. Results of
pipelines' steps with such rows are deleted too. Refuses to know which person requested that.
"""

import msgspec

from contract.run_record import Record
from edgeward.runs.store import RunStore


def forget_rows(store: RunStore, data_sets: frozenset[str]) -> list[str]:
    """Deletes stored rows that came from these data sets (`NAME@VERSION`); returns the ids of the runs
    that had some.
    """
    return [record.id for record in store.all() if data_sets and _forget(store, record, data_sets)]


def _forget(store: RunStore, record: Record, data_sets: frozenset[str]) -> bool:
    wrong = [each for each in record.data if each.data_set in data_sets and each.kept_sha256]
    for each in wrong:
        store.remove(each.kept_sha256)
    if wrong and record.status != "running":
        data = tuple(msgspec.structs.replace(d, kept_sha256="") if d in wrong else d for d in record.data)
        store.save(msgspec.structs.replace(record, data=data))
    return bool(wrong)
