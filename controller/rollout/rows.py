"""The measurements of devices in one rollout, a row for each device, side and interval.

Decides how counts are summed, and that older rows are merged by the hour. Rows of a device can be removed: the rest
equals rows of a fleet that never had it. Refuses to know the use of counts.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.histogram import LATENCY_BUCKETS
from contract.messages import MetricSums, ModelInterval
from controller.rollout.facts import BUCKET_S, Sums

COUNTS = (
    "inferences",
    "errors",
    "labelled",
    "correct",
    "measured",
    "absolute_error_sum",
    "squared_error_sum",
    "compared",
    "agreed",
)
ANSWERS = "answers"
"""The column of all answers of a classifier, where rules ask for one of its classes."""
HOUR_S = 3600.0
RECENT_S = 2 * HOUR_S
"""Rows younger than this keep their minute, older ones are merged by the hour: a day of 1,000 devices is 150,000
rows."""
MAX_ROWS = 2_000_000
"""Rows of one rollout in memory, 600 MB; after that the older half of the hours is dropped."""
_FIRST_ROWS = 64

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as arrays of one length n."""

    names: tuple[str, ...]
    """Devices by number."""
    device: Places
    """Shape (n,): the device's number."""
    start: Numbers
    """Shape (n,): when the interval began, in seconds since 1970."""
    treated: Flags
    """Shape (n,): True if the release answered, False for any other version."""
    counts: Numbers
    """Shape (n, len(columns))."""
    row: Places
    """Shape (n,): the row of `latency` with its histogram."""
    latency: Numbers
    """Shape (N, LATENCY_BUCKETS), N >= n: inferences by their time for one row."""
    columns: tuple[str, ...] = COUNTS
    """What each column of `counts` holds."""

    def column(self, name: str) -> Numbers:
        """One of `columns`, shape (n,)."""
        return self.counts[:, self.columns.index(name)]

    def where(self, wanted: Flags) -> "Table":
        """Returns the selected rows; devices keep their numbers."""
        return replace(
            self,
            device=self.device[wanted],
            start=self.start[wanted],
            treated=self.treated[wanted],
            counts=self.counts[wanted],
            row=self.row[wanted],
        )

    def histograms(self, wanted: Flags) -> Numbers:
        """Returns the selected rows' inferences by their time, by device; shape (D, LATENCY_BUCKETS)."""
        found = np.zeros((len(self.names), LATENCY_BUCKETS))
        device = self.device[wanted]
        if len(device):
            order = np.argsort(device, kind="stable")
            begins = np.flatnonzero(np.diff(device[order], prepend=-1))
            rows = self.latency[self.row[wanted][order]]
            found[device[order][begins]] = np.add.reduceat(rows, begins, axis=0, dtype=np.float64)
        return found

    def of_devices(self, is_wanted: Callable[[str], bool]) -> Flags:
        """Returns whether a row's device is selected; shape (n,)."""
        chosen = np.array([is_wanted(name) for name in self.names], dtype=bool)
        return chosen[self.device] if len(chosen) else np.zeros(0, dtype=bool)


class Rows:
    """Rows that grow. `table` is a view of them; later rows may change it.

    `metrics`, `classes`: numbers of applications and answers of a classifier that are counted by name; others are not
    stored.
    """

    def __init__(self, metrics: Collection[str] = (), classes: Collection[str] = ()) -> None:
        self._metrics, self._classes = tuple(metrics), tuple(classes)
        named = [column for name in self._metrics for column in metric_columns(name)]
        named += [ANSWERS, *(class_column(name) for name in self._classes)] if self._classes else []
        self._columns = (*COUNTS, *named)
        self._places: dict[tuple[str, bool, float], int] = {}
        self._numbers: dict[str, int] = {}
        self._used = 0
        self._table = _empty(_FIRST_ROWS, self._columns)
        self._merge_at = 0.0

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same counts, in any order."""
        return isinstance(other, Rows) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return self._used

    def add(self, device: str, at: float, sums: Sums | ModelInterval, *, treated: bool) -> None:
        """Adds what a device measured in the interval that contains `at` (seconds since 1970)."""
        self.add_row(device, at // BUCKET_S * BUCKET_S, sums, treated=treated)

    def add_row(self, device: str, start: float, sums: Sums | ModelInterval, *, treated: bool) -> None:
        """Adds counts to the row that begins at `start`."""
        place = self._place(device, start, treated)
        self._table.counts[place, : len(COUNTS)] += [getattr(sums, name) for name in COUNTS]
        for name in self._metrics:
            if (one := sums.metrics.get(name)) is not None:
                self._add_metric(place, name, one)
        if isinstance(sums, ModelInterval):
            self._add_answers(place, sums.predictions)
        counts = sums.row_latency_counts or sums.latency_counts
        self._table.latency[place, : len(counts)] += counts

    def add_answers(self, device: str, start: float, answers: Mapping[str, int], *, treated: bool) -> None:
        """Adds answers by class to the row that begins at `start`: `Sums` do not hold them."""
        self._add_answers(self._place(device, start, treated), answers)

    def _add_metric(self, place: int, name: str, one: MetricSums) -> None:
        first = self._columns.index(metric_columns(name)[0])
        self._table.counts[place, first : first + 3] += (one.count, one.sum, one.squared_sum)

    def _add_answers(self, place: int, answers: Mapping[str, int]) -> None:
        if self._classes and answers:
            first = self._columns.index(ANSWERS)
            found = [sum(answers.values()), *(answers.get(name, 0) for name in self._classes)]
            self._table.counts[place, first:] += found

    def table(self) -> Table:
        """All rows."""
        whole = self._table
        return replace(
            whole,
            names=tuple(self._numbers),
            device=whole.device[: self._used],
            start=whole.start[: self._used],
            treated=whole.treated[: self._used],
            counts=whole.counts[: self._used],
            row=whole.row[: self._used],
        )

    def drop(self, devices: Collection[str]) -> None:
        """Removes everything that these devices have measured."""
        table = self.table()
        self._take(table.where(~table.of_devices(lambda name: name in devices)))

    def tend(self, now: float, marks: Collection[float] = ()) -> None:
        """Merges old rows, once an hour; as `merge_hours`."""
        if now >= self._merge_at:
            self._merge_at = (now // HOUR_S + 1) * HOUR_S
            self.merge_hours(now, marks)

    def merge_hours(self, now: float, marks: Collection[float] = ()) -> None:
        """Merges minutes that are older than `RECENT_S` by the hour. No row then spans one of the `marks`."""
        table = self.table()
        hours = np.floor(table.start / HOUR_S) * HOUR_S
        for mark in sorted(marks):
            hours = np.where((table.start >= mark) & (hours < mark), mark, hours)
        starts = np.where(table.start < (now - RECENT_S) // HOUR_S * HOUR_S, hours, table.start)
        merged = _merged(replace(table, start=starts))
        if len(merged.start) > MAX_ROWS:
            merged = merged.where(merged.start >= np.median(merged.start))
        self._take(merged)

    def _content(self) -> dict[tuple[str, bool, float], tuple[bytes, bytes]]:
        table = self._table
        return {
            key: (table.counts[place].tobytes(), table.latency[place].tobytes()) for key, place in self._places.items()
        }

    def _place(self, device: str, start: float, treated: bool) -> int:
        key = (device, treated, start)
        place = self._places.get(key)
        if place is None:
            if self._used == len(self._table.start):
                self._table = _longer(self._table)
            place = self._places[key] = self._used
            self._used += 1
            number = self._numbers.setdefault(device, len(self._numbers))
            table = self._table
            table.device[place], table.start[place], table.treated[place], table.row[place] = (
                number,
                start,
                treated,
                place,
            )
        return place

    def _take(self, table: Table) -> None:
        """Replaces all rows."""
        used = [table.names[number] for number in dict.fromkeys(table.device.tolist())]
        self._numbers = {name: number for number, name in enumerate(used)}
        numbers = np.array([self._numbers.get(name, 0) for name in table.names], dtype=np.int64)
        device = numbers[table.device] if len(numbers) else table.device
        keys = zip(device.tolist(), table.treated.tolist(), table.start.tolist(), strict=True)
        self._places = {(used[number], treated, start): row for row, (number, treated, start) in enumerate(keys)}
        self._used = len(table.start)
        spare = _empty(max(_FIRST_ROWS, self._used), self._columns)
        own = replace(table, device=device, row=np.arange(self._used), latency=table.latency[table.row])
        self._table = _joined(own, spare)


def metric_columns(name: str) -> tuple[str, str, str]:
    """The columns of an application's number: how many there were, their sum, the sum of their squares."""
    return f"metric {name} count", f"metric {name} sum", f"metric {name} squared_sum"


def class_column(name: str) -> str:
    """The column of the answers that are this class."""
    return f"answers {name}"


def sums_by(place: Places, values: Numbers, length: int) -> Numbers:
    """Sums of values by place, shape (length,)."""
    return np.bincount(place, values, length).astype(np.float64)


def _merged(table: Table) -> Table:
    """Returns rows of the same device, side and start summed, in the order of their keys."""
    if not len(table.start):
        return table
    keys = np.stack([table.device.astype(np.float64), table.start, table.treated.astype(np.float64)], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    place = inverse.reshape(-1)
    return replace(
        table,
        device=unique[:, 0].astype(np.int64),
        start=unique[:, 1],
        treated=unique[:, 2] > 0,
        counts=_added(table.counts, place, len(unique)),
        row=np.arange(len(unique)),
        latency=_added(table.latency[table.row], place, len(unique)),
    )


def _added(rows: Numbers, place: Places, length: int) -> Numbers:
    found = np.zeros((length, rows.shape[1]))
    np.add.at(found, place, rows)
    return found


def _empty(length: int, columns: tuple[str, ...]) -> Table:
    return Table(
        names=(),
        device=np.zeros(length, np.int64),
        start=np.zeros(length),
        treated=np.zeros(length, bool),
        counts=np.zeros((length, len(columns))),
        row=np.zeros(length, np.int64),
        latency=np.zeros((length, LATENCY_BUCKETS)),
        columns=columns,
    )


def _longer(table: Table) -> Table:
    return _joined(table, _empty(len(table.start), table.columns))


def _joined(first: Table, second: Table) -> Table:
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("device", "start", "treated", "counts", "row", "latency")
    }
    return replace(first, **parts)
