"""A run that is being reproduced, for the repeating process: the recorded values that it gets.

Decides that recorded rows and seeds are returned if the reproduction requests them. Refuses to know why it does.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import msgspec

from contract.run_record import Record
from edgeward.runs.store import REPRODUCED, RunStore


class Asked(msgspec.Struct, frozen=True):
    """The request: which run is repeated, where it is stored, and which parts are returned: data, seed."""

    directory: str
    run: str
    restored: tuple[str, ...] = ()


class Repeated:
    """The recorded run."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._store = RunStore(Path(asked.directory), named=True)
        self.record: Record = self._store.load(asked.run)

    def rows(self, name: str) -> Any | None:
        """Returns the recorded rows of this name; None if they were not stored, or must not be returned."""
        known = self.record.find_data(name)
        if "data" not in self._asked.restored or known is None or not known.kept_sha256:
            return None
        return pickle.loads(self._store.get(known.kept_sha256))  # noqa: S301 - this user's own, by its digest

    def seed(self, number: int) -> int:
        """Returns the recorded seed if it must be returned, else `number`."""
        known = self.record.seeds.get("seed", "")
        return int(known) if "seed" in self._asked.restored and known else number


def repeated_here(ordinal: int) -> Repeated | None:
    """Returns the recorded run that the run of this number in this process repeats; None for all others."""
    raw = os.environ.get(REPRODUCED)
    if not raw:
        return None
    found = Repeated(msgspec.json.decode(raw, type=Asked))
    return found if found.record.entry.ordinal == ordinal else None
