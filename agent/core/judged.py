"""The newest inferences of one version, by which it is judged, and the baseline for its successor.

Decides what is counted. Refuses to know the limits: `health` judges.
"""

import itertools
import math
from collections import deque

import msgspec

from agent.core.model import Baseline
from contract.errors import Code
from contract.histogram import LATENCY_BUCKETS, bucket_of, trimmed


class Inference(msgspec.Struct, frozen=True, gc=False):
    """One inference: its latency, fault and correctness."""

    latency_us: float
    """The time for one row: the time of a request of many rows is divided by their number."""
    error: Code | None = None
    correct: bool | None = None
    """Whether a classifier's answer equals the label; None without a label."""
    distance: float | None = None
    """The absolute difference between a regression's number and the label; None without a label."""
    label: float = 0.0
    """The label of a regression."""


class JudgedInferences:
    """The newest inferences of one version, bounded. Counts are updated with each inference that is added
    or dropped.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: deque[Inference] = deque()
        self._labelled_later: deque[Inference] = deque()
        self.seen = 0
        """All inferences that were ever added."""
        self.rows_seen = 0
        """Rows in them: an inference is one request, of one row or many."""
        self.seen_labels = 0
        """Labels that came after their inference, since the beginning."""
        self.errors = 0
        self.labelled = 0
        self.correct = 0
        self.compared = 0
        """Rows that a shadow has answered, counted since the beginning."""
        self.agreed = 0
        self.refused = 0
        """Requests that the version cannot accept, counted since the beginning. They are no inferences."""
        self.refused_alone = 0
        """The refused requests that stable's signature accepts."""
        self.error_words = ""
        """The error of the first failed inference."""
        self.refusal_words = ""
        """The error of the first refused request that stable's signature accepts."""

    def __len__(self) -> int:
        return len(self._newest)

    def add(self, inference: Inference, rows: int = 1) -> None:
        """Adds one inference of so many rows; beyond the limit drops the oldest."""
        self._newest.append(inference)
        self.seen += 1
        self.rows_seen += rows
        if inference.error is not None or inference.correct is not None:
            self._count(inference, 1)
        if len(self._newest) > self._size:
            oldest = self._newest.popleft()
            if oldest.error is not None or oldest.correct is not None:
                self._count(oldest, -1)

    def add_label(self, correct: bool | None, distance: float | None, label: float) -> None:
        """Adds a label that came after its inference. As many of the newest labels are kept as of the inferences."""
        found = Inference(0.0, None, correct, distance, label)
        self._labelled_later.append(found)
        self.seen_labels += 1
        self._count(found, 1)
        if len(self._labelled_later) > self._size:
            self._count(self._labelled_later.popleft(), -1)

    def refuse(self, words: str, *, alone: bool) -> None:
        """Counts a refused request; `alone`: stable's signature accepts it."""
        self.refused += 1
        self.refused_alone += alone
        if alone:
            self.refusal_words = self.refusal_words or words

    def compare(self, rows: int, agreed: int) -> None:
        """Adds the number of a shadow's answers that equal stable's."""
        self.compared += rows
        self.agreed += agreed

    def latency_us_p95(self) -> float:
        """Returns the 95th percentile of the latencies in microseconds; 0 without inferences."""
        ordered = sorted(inference.latency_us for inference in self._newest)
        return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)] if ordered else 0.0

    def slower_than(self, limit_us: float) -> int:
        """Returns how many inferences took longer than `limit_us` for a row."""
        return sum(inference.latency_us > limit_us for inference in self._newest)

    def errors_measured(self) -> Baseline:
        """Returns the sums of a regression's distances from its labels; all zero without any."""
        all_labels = itertools.chain(self._newest, self._labelled_later)
        found = [(each.distance, each.label) for each in all_labels if each.distance is not None]
        return Baseline(
            measured=len(found),
            absolute_error_sum=math.fsum(distance for distance, _ in found),
            squared_error_sum=math.fsum(distance * distance for distance, _ in found),
            squared_label_sum=math.fsum(label * label for _, label in found),
        )

    @property
    def baseline(self) -> Baseline | None:
        """The baseline for a successor from these inferences; None without inferences."""
        if not self._newest:
            return None
        latency = [0] * LATENCY_BUCKETS
        for inference in self._newest:
            latency[bucket_of(inference.latency_us)] += 1
        return msgspec.structs.replace(
            self.errors_measured(),
            labelled=self.labelled,
            correct=self.correct,
            inferences=len(self._newest),
            errors=self.errors,
            row_latency_counts=trimmed(latency),
        )

    def _count(self, inference: Inference, sign: int) -> None:
        self.errors += sign * (inference.error is not None)
        self.labelled += sign * (inference.correct is not None)
        self.correct += sign * (inference.correct is True)
