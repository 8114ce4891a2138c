"""The time until a wave is durable: rows of the changed devices, compared with one JSON file of the whole fleet.

The comparison is how the controller stored twins before it had fleet tables: one TinyDB table, written whole at every
change.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from tinydb import TinyDB

from benchmarks.table import Row
from contract.desired import TrialPolicy
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.durable import TABLES, FleetRecords
from controller.reconcile.world import Durable
from controller.registry.atomic_storage import AtomicStorage
from controller.registry.fleet_tables import FleetTables

TWINS, WAVE = 100_000, 1_000
WAVES = 5
"""Number of waves; the median of their times is taken."""
GOAL = 1 / 20


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    twins = {name: _twin(name, 1) for name in (f"d{number:06}" for number in range(TWINS))}
    with tempfile.TemporaryDirectory() as scratch:
        old = _median_s(_OneFile(Path(scratch), twins).save, twins)
        new = _median_s(_Rows(Path(scratch), twins).save, twins)
    return [Row(f"{WAVE} of {TWINS} twins durable", new * 1000, old * 1000, "ms", "one JSON file", GOAL)]


class _OneFile:
    """The desired sides as one TinyDB table, as the earlier `save_devices` and `TinyStore` wrote them."""

    def __init__(self, directory: Path, twins: Mapping[str, Twin]) -> None:
        self._database = TinyDB(str(directory / "devices.json"), storage=AtomicStorage)
        self._docs: dict[str, dict[str, Any]] = {}
        self.save(twins)

    def save(self, twins: Mapping[str, Twin]) -> None:
        """Writes all documents, the changed ones and all others."""
        self._docs = {**self._docs, **{name: _desired_side(twin) for name, twin in twins.items()}}
        rows = {number: {"key": key, "doc": doc} for number, (key, doc) in enumerate(self._docs.items(), start=1)}
        self._database.storage.write({"_default": {str(number): row for number, row in rows.items()}})


class _Rows:
    """The desired sides as rows of fleet tables."""

    def __init__(self, directory: Path, twins: Mapping[str, Twin]) -> None:
        self._records = FleetRecords(FleetTables(directory / "fleet.sqlite", TABLES))
        self.save(twins)

    def save(self, twins: Mapping[str, Twin]) -> None:
        """Writes the rows of these twins in one transaction."""
        self._records.save(Durable(dict(twins)), twins, (), ())


def _median_s(save: Callable[[Mapping[str, Twin]], None], twins: Mapping[str, Twin]) -> float:
    took_s = []
    names = list(twins)
    for wave in range(WAVES):
        changed = {name: _twin(name, wave + 2) for name in names[wave * WAVE : (wave + 1) * WAVE]}
        began_s = time.perf_counter()
        save(changed)
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


def _twin(name: str, version: int) -> Twin:
    assigned = Assigned(release=version, generation=version, rollout="r-1", digest="d" * 64, policy=TrialPolicy())
    return Twin(name, document_version=version, issued_at=1_700_000_000, desired={"m": assigned})


def _desired_side(twin: Twin) -> dict[str, object]:
    return {
        "document_version": twin.document_version,
        "issued_at": twin.issued_at,
        "desired": msgspec.to_builtins(twin.desired),
        "answered": twin.answered,
    }
