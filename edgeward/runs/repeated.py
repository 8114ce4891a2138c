"""A run that is reproduced, seen from inside the process that repeats it: which recorded things it is handed.

Decides that rows and seeds are handed back where the reproduction asks for it. Refuses to know why it does.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import msgspec

from edgeward.runs.record import Record
from edgeward.runs.store import REPRODUCED, RunStore


class Asked(msgspec.Struct, frozen=True):
    """Which run is repeated, where it is kept, and what of it is handed back: data, seed."""

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
        """The recorded rows of this name; None where they were not kept, or are not to be handed back."""
        known = self.record.find_data(name)
        if "data" not in self._asked.restored or known is None or not known.kept_sha256:
            return None
        return pickle.loads(self._store.get(known.kept_sha256))  # noqa: S301 - this user's own, by its digest

    def seed(self, number: int) -> int:
        """The recorded seed if it is to be handed back, else `number`."""
        known = self.record.seeds.get("seed", "")
        return int(known) if "seed" in self._asked.restored and known else number


def repeated_here(ordinal: int) -> Repeated | None:
    """The recorded run that the run of this number in this process repeats; None for all others."""
    raw = os.environ.get(REPRODUCED)
    if not raw:
        return None
    found = Repeated(msgspec.json.decode(raw, type=Asked))
    return found if found.record.entry.ordinal == ordinal else None
