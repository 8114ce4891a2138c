"""The facts of `decide`: about each device, and what devices measured since the rollout began."""

from collections.abc import Iterable, Mapping

import msgspec

from contract.histogram import merge
from contract.messages import MAX_METRICS, MetricSums, ModelInterval, ModelState
from controller.fleet.twin import Assigned, PresenceWord

BUCKET_S = 60.0
"""Two sides are compared within intervals of so many seconds: an event of the world then affects both."""
MAX_CODES = 16
"""Codes of refused rows that are counted by name for one release on one device; a device may invent any number."""


class Sums(msgspec.Struct, frozen=True):
    """Inferences of one release, on one device or summed over several."""

    inferences: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    latency_counts: tuple[int, ...] = ()
    compared: int = 0
    agreed: int = 0
    row_latency_counts: tuple[int, ...] = ()
    """Counts by the time for one row; empty while every inference has had one row."""
    rows: int = 0
    refused: Mapping[str, int] = {}
    """Requests that the release cannot accept, by code."""
    refused_alone: int = 0
    labels_unusable: int = 0
    measured: int = 0
    """Numbers of a regression that have a label; the sums below are over them."""
    absolute_error_sum: float = 0.0
    squared_error_sum: float = 0.0
    label_sum: float = 0.0
    squared_label_sum: float = 0.0
    metrics: Mapping[str, MetricSums] = {}
    """Numbers that the application measures, by name."""
    labels_unknown: int = 0
    """Labels of no known class."""

    def plus(self, other: "Sums | ModelInterval") -> "Sums":
        """The sum of both."""
        return Sums(
            self.inferences + other.inferences,
            self.errors + other.errors,
            self.labelled + other.labelled,
            self.correct + other.correct,
            merge((self.latency_counts, other.latency_counts)),
            self.compared + other.compared,
            self.agreed + other.agreed,
            _by_row(self, other),
            self.rows + other.rows,
            _by_code(self.refused, other.refused),
            self.refused_alone + other.refused_alone,
            self.labels_unusable + other.labels_unusable,
            self.measured + other.measured,
            self.absolute_error_sum + other.absolute_error_sum,
            self.squared_error_sum + other.squared_error_sum,
            self.label_sum + other.label_sum,
            self.squared_label_sum + other.squared_label_sum,
            _by_name(self.metrics, other.metrics),
            self.labels_unknown + other.labels_unknown,
        )

    @property
    def time_for_a_row(self) -> tuple[int, ...]:
        """Inferences per bucket of contract.histogram by their time for one row."""
        return self.row_latency_counts or self.latency_counts

    @property
    def accuracy(self) -> float | None:
        """How often a classifier was right; None without labels, and for a regression."""
        judged = self.labelled - self.measured
        return self.correct / judged if judged > 0 else None

    @property
    def mean_absolute_error(self) -> float | None:
        """How far a regression was from its labels, in their unit; None without labels, and for a classifier."""
        return self.absolute_error_sum / self.measured if self.measured else None

    @property
    def r2(self) -> float | None:
        """Returns the fraction of the labels' variance that a regression explains; None if the labels do not vary."""
        if self.measured < 2:
            return None
        spread = self.squared_label_sum - self.label_sum * self.label_sum / self.measured
        enough = spread > 1e-12 * self.squared_label_sum
        return 1.0 - self.squared_error_sum / spread if enough else None


def _by_row(ours: "Sums", theirs: "Sums | ModelInterval") -> tuple[int, ...]:
    """The sum of both by the time for a row; empty while neither has had an inference of many rows."""
    if not ours.row_latency_counts and not theirs.row_latency_counts:
        return ()
    return merge(each.row_latency_counts or each.latency_counts for each in (ours, theirs))


def _by_name(ours: Mapping[str, MetricSums], theirs: Mapping[str, MetricSums]) -> Mapping[str, MetricSums]:
    """The sum of both; a device that invents more names than an application may have takes no more memory."""
    if not theirs:
        return ours
    found = dict(ours)
    for name, sums in theirs.items():
        if name in found or len(found) < MAX_METRICS:
            found[name] = found.get(name, MetricSums()).plus(sums)
    return found


def _by_code(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    if not theirs:
        return ours
    found = dict(ours)
    for code, count in theirs.items():
        name = code if code in found or len(found) < MAX_CODES else "other"
        found[name] = found.get(name, 0) + count
    return found


def total(sums: Iterable[Sums]) -> Sums:
    """The sum of all."""
    found = Sums()
    for each in sums:
        found = found.plus(each)
    return found


class DeviceFact(msgspec.Struct, frozen=True):
    """The facts about one device that matter for one rollout."""

    device: str
    presence: PresenceWord
    assigned: Assigned | None
    state: ModelState | None
    retired: bool = False
    """Whether it has left the fleet."""
    pinned_at: int = 0
    """The release at which a person holds the model there; 0: none."""
