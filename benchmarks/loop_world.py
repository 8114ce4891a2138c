"""One series as a fleet gets it: models trained at any day, and which of their answers are right.

Decides how a model is trained: a forest on the two preceding tenths of the series, with every row known by then.
Refuses to know when, and what the controller's policy gets (`loop_candidates`). The first version is trained on the
first fifth, as in the design of this loop.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmarks.loop_streams import Stream

DAY_S = 86_400.0
DEVICES = 100
MAX_KEPT = 600
"""Models whose answers are kept, 160 kB each: those of every week, not of every day."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model: its answers to the rows from `first` on, -1 before, and which of them are right."""

    right: Any
    """Whether each row of the stream is right, bool."""
    answers: Any
    first: int
    until: int
    """It has learned the rows from `first` to here."""
    training_s: float
    """Seconds of processor, so that other work on the machine changes no cost."""


@dataclass
class World:
    """One series in use, from the end of its first fifth on."""

    stream: Stream
    size_bytes: int = 0
    begins: int = 0
    days: list[int] = field(default_factory=list)
    """Row numbers at which a day ends, from the beginning of use."""
    _known: dict[int, Fitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at, count = self.stream.at, len(self.stream.at)
        self.begins = count // 5
        ends = np.searchsorted(at, np.arange(at[self.begins], at[-1] + DAY_S, DAY_S))
        self.days = sorted({int(end) for end in ends if end > self.begins} | {count})
        self.days.insert(0, self.begins)

    def fitted(self, until: int) -> Fitted:
        """Returns the model that has learned the two tenths of the series before row `until`."""
        if until in self._known:
            return self._known[until]
        found = self.train(max(0, until - 2 * (len(self.stream.at) // 10)), until)
        if len(self._known) < MAX_KEPT:
            self._known[until] = found
        return found

    def train(self, first: int, until: int) -> Fitted:
        """Returns the model that has learned the rows between."""
        rows, labels = self.stream.rows, self.stream.labels
        began = time.process_time()
        model = self.fit(first, until)
        took = time.process_time() - began
        answers = np.full(len(rows), -1, np.int8)
        answers[first:] = model.predict(rows[first:])
        return Fitted(answers == labels, answers, first, until, took)

    def fit(self, first: int, until: int) -> RandomForestClassifier:
        """A forest on the rows between."""
        model = RandomForestClassifier(12, max_depth=10, min_samples_leaf=5, random_state=0)
        return model.fit(self.stream.rows[first:until], self.stream.labels[first:until])
