"""One series as a fleet gets it: models trained at any day, their answers, labels for the policy.

Decides how a candidate is trained: a forest on the two preceding tenths of the series. Refuses to know when. The first
version is trained on the first fifth, as in the design of this loop.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmarks.loop_streams import Stream
from controller.gates.evidence import HeldOut
from controller.retraining.quality import Cell

DAY_S = 86_400.0
HELD_DAYS = 28
DEVICES = 100
MAX_KEPT = 600
"""Models whose answers are kept, 160 kB each: those of every week, not of every day."""
PLAIN = 100
"""Rows at each end of the first fifth that no version may forget: the plainest cases."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fitted model: which answers of the series are right, and the held-out rows for its gate."""

    right: Any
    """Whether each row of the stream is right, bool."""
    answers: Any
    first: int
    until: int
    """Rows until here were known when it was trained; its held-out rows are the newest of them."""
    fitted_until: int
    training_s: float


@dataclass
class World:
    """One series in use, from the end of its first fifth on."""

    stream: Stream
    size_bytes: int = 0
    begins: int = 0
    days: list[int] = field(default_factory=list)
    """Row numbers at which a day ends, from the beginning of use."""
    _known: dict[tuple[int, bool], Candidate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at, count = self.stream.at, len(self.stream.at)
        self.begins = count // 5
        ends = np.searchsorted(at, np.arange(at[self.begins], at[-1] + DAY_S, DAY_S))
        self.days = sorted({int(end) for end in ends if end > self.begins} | {count})
        self.days.insert(0, self.begins)

    def candidate(self, until: int, *, hold_out: bool) -> Candidate:
        """Returns a model that knows the rows before `until`; with `hold_out` its newest 28 days, at most a third, are
        kept for the gate.
        """
        key = (until, hold_out)
        if key not in self._known:
            found = self._train(until, hold_out)
            if len(self._known) >= MAX_KEPT:
                return found
            self._known[key] = found
        return self._known[key]

    def _train(self, until: int, hold_out: bool) -> Candidate:
        at, rows, labels = self.stream.at, self.stream.rows, self.stream.labels
        first = max(0, until - 2 * (len(at) // 10))
        fitted_until = until
        if hold_out:
            held = int(np.searchsorted(at, at[until - 1] - HELD_DAYS * DAY_S))
            fitted_until = max(held, until - (until - first) // 3)
        began = time.perf_counter()
        model = self.fit(first, fitted_until)
        took = time.perf_counter() - began
        answers = np.full(len(at), -1, np.int8)
        answers[first:] = model.predict(rows[first:])
        if hold_out:
            answers[self.plain] = model.predict(rows[self.plain])
        return Candidate(answers == labels, answers, first, until, fitted_until, took)

    def fit(self, first: int, until: int) -> RandomForestClassifier:
        """A forest on the rows between."""
        model = RandomForestClassifier(12, max_depth=10, min_samples_leaf=5, random_state=0)
        return model.fit(self.stream.rows[first:until], self.stream.labels[first:until])

    @property
    def plain(self) -> Any:
        """Row numbers of the first fifth with the lowest and the highest numbers behind their labels."""
        order = np.argsort(self.stream.level[: self.begins], kind="stable")
        return np.concatenate([order[:PLAIN], order[-PLAIN:]])

    def held_out(self, candidate: Candidate, champion: Candidate, rows: Any) -> HeldOut:
        """Both models' answers to some rows, as the champion gate gets them."""
        return HeldOut(
            task="classification",
            labels=self.stream.labels[rows],
            answers=candidate.answers[rows],
            champion=champion.answers[rows],
            champion_name="the champion",
            times=self.stream.at[rows],
        )

    def cells(self, served: Any, since: int, until: int, block_s: float) -> list[Cell]:
        """Returns what labels say of the rows between, by block; `served` tells by row whether the answer was right."""
        blocks = (self.stream.at[since:until] // block_s).astype(int)
        found = []
        for block in np.unique(blocks):
            right = served[since:until][blocks == block]
            wrong = float((~right).sum())
            found.append(Cell(int(block), "fleet", len(right), wrong, wrong))
        return found
