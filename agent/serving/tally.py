"""Counts of one version during one telemetry interval, as they are sent.

Decides how many names and words a message carries. Refuses to know when an interval ends.
"""

from collections import Counter

from agent.core.model import Assignment
from agent.serving.label_counts import LabelCounts
from agent.serving.shadow import Compared
from contract.errors import Code
from contract.histogram import LATENCY_BUCKETS, bucket_of, merge, trimmed
from contract.messages import ModelInterval

MAX_LABELS = 16
"""Distinct answers counted by name in one interval; the rest are "other"."""
MAX_NAME_CHARS = 128
MAX_WORDS_CHARS = 300


class Tally:
    """Counts of one version during one telemetry interval."""

    def __init__(self) -> None:
        self.inferences = 0
        self.errors = 0
        self.rows = 0
        self.refused: Counter[str] = Counter()
        self.refused_alone = 0
        self.faults: dict[str, str] = {}
        self.labels = LabelCounts()
        self.latency = [0] * LATENCY_BUCKETS
        self.row_latency: list[int] | None = None
        """None while every inference has had a single row."""
        self.predictions: Counter[str] = Counter()
        self.compared = 0
        self.agreed = 0
        self.divergence: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.inferences or self.refused or not self.labels.is_empty)

    def add_inference(self, latency_us: float, rows: int, fault: Code | None) -> float:
        """Adds one inference; returns its time for a row in microseconds."""
        self.inferences += 1
        self.rows += rows
        self.errors += fault is not None
        bucket = bucket_of(latency_us)
        if rows == 1:
            self.latency[bucket] += 1
            if self.row_latency is not None:
                self.row_latency[bucket] += 1
            return latency_us
        if self.row_latency is None:
            self.row_latency = self.latency[:]
        row_us = latency_us / max(rows, 1)
        self.latency[bucket] += 1
        self.row_latency[bucket_of(row_us)] += 1
        return row_us

    def refuse(self, code: Code, *, alone: bool) -> None:
        """Adds a request that was refused."""
        self.refused[str(code)] += 1
        self.refused_alone += alone

    def compare(self, found: Compared) -> None:
        """Adds the result of comparing a shadow's answers with stable's."""
        self.compared += found.rows
        self.agreed += found.agreed
        self.divergence = merge((self.divergence, found.divergence))

    def interval(self, assignment: Assignment) -> ModelInterval:
        """The tally as a message."""
        return ModelInterval(
            model=assignment.model,
            version=assignment.ref,
            inferences=self.inferences,
            errors=self.errors,
            rows=self.rows,
            refused=dict(self.refused),
            refused_alone=self.refused_alone,
            faults=dict(self.faults),
            **self.labels.fields(),
            latency_counts=trimmed(self.latency),
            row_latency_counts=() if self.row_latency is None else trimmed(self.row_latency),
            predictions=_named(self.predictions),
            compared=self.compared,
            agreed=self.agreed,
            divergence=self.divergence,
        )


def sayable(words: str) -> str:
    """Returns a text as a message can carry it: short, and without the unpaired surrogates that some models answer."""
    return words[:MAX_WORDS_CHARS].encode(errors="replace").decode()


def _named(predictions: Counter[str]) -> dict[str, int]:
    """Returns counts by answer, with the rarest summed as "other"; answers with one beginning are counted as one."""
    named: Counter[str] = Counter()
    for label, count in predictions.most_common(MAX_LABELS):
        named[sayable(label)[:MAX_NAME_CHARS]] += count
    if rest := predictions.total() - named.total():
        named["other"] += rest
    return dict(named)
