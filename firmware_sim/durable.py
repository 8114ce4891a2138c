"""The durable data of the simulated controller, and the faults of its disk and of its process.

Decides which data remain after a kill: all for which `write`, `put` or `record` have returned. Refuses to know
their meaning.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from contract.captured import Captured
from contract.errors import Code, WorldError
from controller.drift.shape import Shape, shape_of
from controller.fleet.heard import Heard
from controller.fleet.vitals import Vitals
from controller.reconcile.deeds import Deed
from controller.reconcile.ports import Rows
from controller.reconcile.series import VerdictPoint
from controller.registry.store import Doc
from controller.rollout.facts import Sums
from controller.telemetry.counts import Counted


class ControllerKilled(BaseException):
    """The controller's process was killed. Not an Exception, because no handler of the controller may survive it."""


class Faults:
    """The faults of the controller, checked at each of its operations, in order."""

    def __init__(self) -> None:
        self.dies: Callable[[], bool] = lambda: False
        """Whether the process is killed instead of the next operation: a write, a message, an acknowledgement."""
        self.disk_fails: Callable[[], bool] = lambda: False
        """Whether the next write is refused by the disk."""
        self.failed_writes = 0

    def operation(self) -> None:
        """Raises ControllerKilled if the process is killed before the next operation."""
        if self.dies():
            raise ControllerKilled

    def write(self) -> None:
        """The same for a write; WorldError `disk_full` if the disk refuses it."""
        self.operation()
        if self.disk_fails():
            self.failed_writes += 1
            raise WorldError(Code.DISK_FULL, "simulated: the controller's disk is full")


class DurableStore:
    """The Store interface in memory: documents that people write."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Doc]] = {}

    def get(self, table: str, key: str) -> Doc | None:
        """One document, or None."""
        return self._tables.get(table, {}).get(key)

    def all(self, table: str) -> Mapping[str, Doc]:
        """Every document of a table."""
        return self._tables.get(table, {})

    def copy(self) -> "DurableStore":
        """Another store with the same documents, for a backup."""
        made = DurableStore()
        made._tables = {table: dict(docs) for table, docs in self._tables.items()}
        return made

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Inserts or replaces."""
        self._tables.setdefault(table, {}).update(docs)

    def delete(self, table: str, key: str) -> None:
        """Removes."""
        self._tables.get(table, {}).pop(key, None)


class DurableTables:
    """The Tables port in memory: rows that change with the fleet."""

    def __init__(self, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._tables: dict[str, dict[str, bytes]] = {}
        self.rows_written = self.bytes_written = 0

    def rows(self, table: str) -> Mapping[str, bytes]:
        """Every row of a table."""
        return self._tables.get(table, {})

    def copy(self) -> "DurableTables":
        """Other tables with the same rows, for a backup."""
        made = DurableTables(self._faults)
        made._tables = {table: dict(rows) for table, rows in self._tables.items()}
        return made

    def write(self, rows: Rows) -> None:
        """All of these rows, or none of them."""
        self._faults.write()
        for table, changed in rows.items():
            kept = self._tables.setdefault(table, {})
            for key, body in changed.items():
                self.rows_written += 1
                self.bytes_written += len(body or b"")
                if body is None:
                    kept.pop(key, None)
                else:
                    kept[key] = body


class DurableHistory:
    """The History port in memory."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.last_words: dict[str, bytes] = {}
        self.states: dict[str, list[dict[str, Any]]] = {}
        """What each device has reported about itself, in order; a repeated report counts once."""
        self.refusals: list[tuple[str, str, str]] = []
        """(date and time, device, code) of every refusal of a device; a repeated report counts once."""
        self._newest: dict[str, tuple[int, int]] = {}
        self._reports: set[tuple[str, int, int]] = set()
        self.verdicts: list[VerdictPoint] = []
        """Points of the series of all rollouts, oldest first."""
        self._measured: dict[tuple[str, int, int, str, int], tuple[float, Sums]] = {}
        self._shapes: dict[tuple[str, int, int, str, int], tuple[float, Shape]] = {}
        self._counted: set[tuple[str, int, int, str, int]] = set()
        self.deeds: list[Deed] = []
        """The controller's own actions, oldest first."""

    def audit(self, deeds: Sequence[Deed]) -> None:
        """Appends the actions of a pass."""
        self._faults.write()
        self.deeds += deeds

    def record(self, at: str, history: Iterable[tuple[str, str]], reported: Iterable[tuple[str, bytes]]) -> None:
        """Appends reports and replaces last heartbeats."""
        self._faults.write()
        self.last_words.update(reported)
        for device, body in history:
            report = msgspec.json.decode(body)
            number = (report["boot"], report["seq"])
            if report["refusal"] is not None and (device, *number) not in self._reports:
                self.refusals.append((at, device, report["refusal"]["code"]))
            self._reports.add((device, *number))
            if report["state"] is not None and number > self._newest.get(device, (0, 0)):
                self._newest[device] = number
                self.states.setdefault(device, []).append(report["state"])

    def keep_captured(self, batches: Sequence[tuple[str, Captured]]) -> None:
        """Takes batches of captured inferences: no simulated device sends any."""
        raise AssertionError(f"captured inferences of {batches[0][0]}")

    def keep_measured(self, measured: Sequence[Counted], verdicts: Sequence[VerdictPoint]) -> None:
        """Stores each message once, and points of verdicts."""
        self._faults.write()
        for each in measured:
            interval = each.interval
            key = (each.device, each.boot, each.seq, interval.model, interval.version.release)
            row = self._measured.setdefault(key, (float(each.start), Sums()))
            if key not in self._counted:
                self._measured[key] = (row[0], row[1].plus(interval))
                shape = self._shapes.get(key, (0.0, Shape()))[1].plus(shape_of(interval))
                self._shapes[key] = (row[0], shape)
        self._counted.update(self._measured)
        self.verdicts += verdicts

    def keep_vitals(self, vitals: Sequence[tuple[str, Vitals]]) -> None:
        """Counts as a write that may fail; no simulated world reads vitals."""
        self._faults.write()

    def past(self, model: str, since: float) -> Iterable[tuple[str, int, float, Sums]]:
        """Returns (device, release, start, sums) of a model since a time."""
        for (device, _, _, named, release), (start, sums) in self._measured.items():
            if named == model and start >= since:
                yield device, release, start, sums

    def shapes(self, model: str, since: float) -> Iterable[tuple[str, int, float, Shape]]:
        """Returns (device, release, start, shape) of a model since a time."""
        for (device, _, _, named, release), (start, shape) in self._shapes.items():
            if named == model and start >= since:
                yield device, release, start, shape

    def heard(self) -> dict[str, Heard]:
        """Returns which telemetry messages are durable."""
        found: dict[str, Heard] = {}
        for device, boot, seq, _, _ in self._measured:
            found[device] = found.get(device, Heard()).then(boot, seq)[0]
        return found

    def holds(self, device: str, boot: int, seq: int) -> bool:
        """Returns whether a report is durable."""
        return (device, boot, seq) in self._reports
