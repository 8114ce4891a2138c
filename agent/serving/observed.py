"""What is measured about inferences: a note for each, which takes 0.1 us, and counts made later from many notes.

Decides what is counted, and when. Refuses to know how an inference is made.
"""

import math
from collections import Counter
from typing import Any

from agent.core.health import Inference, JudgedInferences
from agent.core.model import Assignment
from agent.serving.shadow import Compared
from contract.errors import Code
from contract.histogram import LATENCY_BUCKETS, bucket_of, merge, trimmed
from contract.labels import Answer, same_label
from contract.messages import ModelInterval

MAX_LABELS = 16
"""Distinct answers counted by name in one interval; the rest are "other"."""
MAX_NOTES = 32
"""Inferences that may wait to be counted: counting takes 2 us each, for which the next request waits."""

MAX_NOTED_VALUES = 1024
"""Values of a tensor's answer that are counted; a larger answer counts as an inference only."""

Note = tuple[float, Code | None, Any, Answer | None]
"""Seconds; the fault; the answer (of tensors the first output as nested lists); the label, if there is one."""


class Tally:
    """Counts of one version during one telemetry interval."""

    def __init__(self) -> None:
        self.inferences = 0
        self.errors = 0
        self.labelled = 0
        self.correct = 0
        self.absolute_error_sum = 0.0
        self.latency = [0] * LATENCY_BUCKETS
        self.predictions: Counter[str] = Counter()
        self.compared = 0
        self.agreed = 0
        self.divergence: tuple[int, ...] = ()

    def interval(self, assignment: Assignment) -> ModelInterval:
        """The tally as a message."""
        common: dict[str, int] = self.predictions
        if len(common) > MAX_LABELS:
            common = dict(self.predictions.most_common(MAX_LABELS))
            common["other"] = common.get("other", 0) + self.predictions.total() - sum(common.values())
        return ModelInterval(
            model=assignment.model,
            version=assignment.ref,
            inferences=self.inferences,
            errors=self.errors,
            labelled=self.labelled,
            correct=self.correct,
            absolute_error_sum=self.absolute_error_sum,
            latency_counts=trimmed(self.latency),
            predictions={label[:128]: count for label, count in common.items()},
            compared=self.compared,
            agreed=self.agreed,
            divergence=self.divergence,
        )


class Observed:
    """The notes of one version and the counts made from them. `lock` guards the counts; notes need none."""

    def __init__(self, assignment: Assignment, lock: Any) -> None:
        self.notes: list[Note] = []
        self._assignment = assignment
        self._classifies = assignment.manifest.task == "classification"
        self._lock = lock
        self._judged_inferences = JudgedInferences(assignment.policy.judged_inferences)
        self._tally = Tally()
        self._longest_s = 0.0
        self._lifetime: tuple[int, ...] = ()
        self._lifetime_s = 0.0

    @property
    def judged_inferences(self) -> JudgedInferences:
        """The newest inferences, by which health is judged."""
        self.count()
        return self._judged_inferences

    def take_tally(self) -> ModelInterval | None:
        """Returns what was counted since the last call; None if nothing was inferred."""
        self.count()
        with self._lock:
            tally = self._tally
            if not tally.inferences:
                return None
            self._tally = Tally()
            interval = tally.interval(self._assignment)
            self._lifetime = merge((self._lifetime, interval.latency_counts))
        return interval

    def lifetime(self) -> tuple[tuple[int, ...], float]:
        """Returns (latency histogram, seconds) of all inferences since the version was loaded."""
        self.count()
        with self._lock:
            return merge((self._lifetime, self._tally.latency)), self._lifetime_s

    def note(self, seconds: float, fault: Code | None, value: Any, label: Answer | None) -> None:
        """Notes one inference."""
        self.notes.append((seconds, fault, value, label))
        if len(self.notes) >= MAX_NOTES:
            self.count()

    def compared(self, found: Compared) -> None:
        """Counts how a shadow's answers compare with stable's."""
        with self._lock:
            tally = self._tally
            tally.compared += found.rows
            tally.agreed += found.agreed
            tally.divergence = merge((tally.divergence, found.divergence))
            self._judged_inferences.compare(found.rows, found.agreed)

    def take_longest_s(self) -> float:
        """Returns the seconds of the longest inference since the last call."""
        self.count()
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    def count(self) -> None:
        """Counts all notes."""
        if not self.notes:
            return
        with self._lock:
            batch = self.notes[:]
            del self.notes[: len(batch)]
            named: list[str] = []
            for note in batch:
                self._count(*note, named)
            self._tally.predictions.update(named)

    def _count(self, seconds: float, fault: Code | None, value: Any, label: Answer | None, named: list[str]) -> None:
        tally, latency_us = self._tally, seconds * 1e6
        self._lifetime_s += seconds
        self._longest_s = max(self._longest_s, seconds)
        if type(value) is list:
            fault = self._count_tensor(value, named)
        elif type(value) is float and not math.isfinite(value):
            fault = Code.HEALTH_OUTPUT
        correct = None
        if label is not None and value is not None:
            correct = self._labelled(tally, value, label)
        self._judged_inferences.add(Inference(latency_us, fault, correct))
        tally.inferences += 1
        tally.latency[bucket_of(latency_us)] += 1
        if fault is not None:
            tally.errors += 1
        if isinstance(value, str):
            named.append(value)

    def _count_tensor(self, values: list[Any], named: list[str]) -> Code | None:
        """Counts class names in a tensor's answer; returns a fault for NaN or infinity in it."""
        while values and type(values[0]) is list:
            values = [cell for row in values for cell in row]
        if self._classifies and values and not isinstance(values[0], float):
            named.extend(map(str, values))
            return None
        return None if all(map(_is_usable, values)) else Code.HEALTH_OUTPUT

    def _labelled(self, tally: Tally, value: Any, label: Answer) -> bool | None:
        if self._classifies:
            correct = same_label(value, label)
            tally.labelled += 1
            tally.correct += correct
            return correct
        if math.isfinite(value):
            tally.labelled += 1
            tally.absolute_error_sum += abs(value - float(label))
        return None


def _is_usable(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
