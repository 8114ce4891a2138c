"""The candidates of Edgeward's policy on one series, as its pipeline makes them, and what the champion gate gets.

Decides that the pipeline is the backtest of `edgeward.retraining`, with the same forest and the same rows as the
yardsticks. Refuses to know when a candidate is made.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.loop_world import Fitted, World
from controller.gates.evidence import HeldOut
from controller.retraining.quality import Cell
from edgeward.retraining.backtest import backtest

PLAIN = 100
"""Rows at each end of the first fifth that no version may forget: the plainest cases."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fitted model with the evidence of its backtest."""

    model: Fitted
    newest: HeldOut
    """The answers of earlier fits, beside those of the champion."""
    training_s: float
    """Of all fits together."""
    score: float
    """The fraction of right answers in the backtest."""


@dataclass
class Pipeline:
    """Trains candidates of one series. The same fit is computed once, as by a pipeline's steps."""

    world: World
    spans: tuple[int, ...] = ()
    _known: dict[tuple[int, int], Fitted] = field(default_factory=dict)

    def candidate(self, until: int, champion: Fitted) -> Candidate:
        """Returns the candidate that knows the rows before `until`."""
        at, labels = self.world.stream.at, self.world.stream.labels
        spans = self.spans or (2 * (len(at) // 10),)
        numbers = np.arange(until)
        took: list[float] = []

        def fit(rows: Any, _: Any) -> "_Model":
            model = self._fitted(int(rows[0]), int(rows[-1]) + 1)
            took.append(model.training_s)
            return _Model(model)

        found = backtest(fit, numbers, labels[:until], at[:until], spans=spans, since=float(at[champion.until - 1]))
        rows = found.held_out.rows
        newest = HeldOut(
            task="classification",
            labels=found.held_out.labels,
            answers=found.held_out.answers,
            champion=champion.answers[rows],
            champion_name="the champion",
            times=found.held_out.times,
        )
        score = float((found.held_out.answers == found.held_out.labels).mean())
        return Candidate(found.model.fitted, newest, sum(took), score)

    def fixed(self, candidate: Fitted, champion: Fitted) -> HeldOut:
        """Both models' answers to the rows that no version may forget."""
        rows = self.plain
        return HeldOut(
            task="classification",
            labels=self.world.stream.labels[rows],
            answers=self._answers(candidate, rows),
            champion=self._answers(champion, rows),
            champion_name="the champion",
        )

    @property
    def plain(self) -> Any:
        """Row numbers of the first fifth with the lowest and the highest numbers behind their labels."""
        order = np.argsort(self.world.stream.level[: self.world.begins], kind="stable")
        return np.concatenate([order[:PLAIN], order[-PLAIN:]])

    def _answers(self, model: Fitted, rows: Any) -> Any:
        return self.world.fit(model.first, model.until).predict(self.world.stream.rows[rows])

    def _fitted(self, first: int, until: int) -> Fitted:
        key = first, until
        if key not in self._known:
            self._known[key] = self.world.train(first, until)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class _Model:
    """A fitted model that answers rows by their numbers."""

    fitted: Fitted

    def predict(self, rows: Any) -> Any:
        return self.fitted.answers[rows]


def cells(world: World, served: Any, since: int, until: int, block_s: float) -> list[Cell]:
    """Returns what labels say of the rows between, by block; `served` tells by row whether the answer was right."""
    blocks = (world.stream.at[since:until] // block_s).astype(int)
    oldest = int(blocks[0])
    counts = np.bincount(blocks - oldest).tolist()
    wrong = np.bincount(blocks - oldest, weights=~served[since:until]).tolist()
    numbered = enumerate(zip(counts, wrong, strict=True), oldest)
    return [Cell(block, "fleet", count, lost, lost) for block, (count, lost) in numbered if count]
