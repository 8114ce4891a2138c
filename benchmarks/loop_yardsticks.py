"""The yardsticks of the loop's benchmark: never, on drift, and the oracle that has the future data.

Decides when each of them retrains. Refuses to know the streams, and that results are kept (`loop_kept`).
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.loop_world import DAY_S, DEVICES, World
from controller.retraining.policy import Costs

PSI_ALARM = 0.2
"""The usual limit of the population stability index."""
PSI_BINS = 10


@dataclass
class Life:
    """The result of a stream under one policy."""

    right: Any
    """Whether the fleet's answer was right, by row."""
    trainings: int = 0
    sent: int = 0
    """Versions that went to the fleet."""
    stopped: int = 0
    """Candidates that the gate stopped."""
    stopped_worse: int = 0
    """Those of them that would have been worse over the next 28 days."""
    passed_worse: int = 0
    training_s: float = 0.0
    size_bytes: int = 0
    """The bytes of a version as it is sent."""
    told: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Of all answers in life."""
        return float(self.right.mean())

    def utility(self, world: World, costs: Costs) -> float:
        """Right answers of the fleet, less the costs of trainings, bytes and rollouts."""
        a_rollout = costs.per_rollout + costs.per_mb * DEVICES * world.size_bytes / 1e6
        return DEVICES * float(self.right.sum()) - costs.per_training_s * self.training_s - a_rollout * self.sent


def never(world: World) -> Life:
    """The first version forever."""
    return Life(world.fitted(world.begins).right[world.begins :])


def on_drift(world: World) -> Life:
    """A new version whenever a column of the newest 28 days has moved from those of the training rows (PSI)."""
    rows, at = world.stream.rows, world.stream.at
    trained_until, reference = world.begins, _tenths(rows[: world.begins])

    def moved(until: int) -> bool:
        nonlocal trained_until, reference
        if at[until - 1] - at[trained_until] < 28 * DAY_S:
            return False
        since = int(np.searchsorted(at, at[until - 1] - 28 * DAY_S))
        if _psi(reference, rows[since:until]) < PSI_ALARM:
            return False
        trained_until, reference = until, _tenths(rows[world.fitted(until).first : until])
        return True

    return _unconditional(world, moved)


def _unconditional(world: World, wanted: Any) -> Life:
    serving, life, parts = world.fitted(world.begins), Life(None), []
    for start, end in pairwise(world.days):
        if start > world.begins and wanted(start):
            serving = world.fitted(start)
            life.trainings, life.sent = life.trainings + 1, life.sent + 1
            life.training_s += serving.training_s
        parts.append(serving.right[start:end])
    life.right = np.concatenate(parts)
    return life


def oracle(world: World, costs: Costs) -> Life:
    """The best weeks to retrain, found with hindsight by dynamic programming over (week, model), at the same costs."""
    weeks = [*world.days[::7], world.days[-1]]
    spans = list(pairwise(weeks))
    models = [world.fitted(start) for start, _ in spans]
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    a_rollout = costs.per_rollout + costs.per_mb * DEVICES * world.size_bytes / 1e6
    for week, (start, end) in enumerate(spans):
        if week:
            kept = max(best, key=lambda model: best[model][0])
            paid = best[kept][0] - a_rollout - costs.per_training_s * models[week].training_s
            best[week] = (paid, (*best[kept][1], week))
        best = {
            model: (value + DEVICES * float(models[model].right[start:end].sum()), chosen)
            for model, (value, chosen) in best.items()
        }
    _, chosen = max(best.values())
    life, serving, parts = Life(None), models[0], []
    for week, (start, end) in enumerate(spans):
        if week in chosen:
            serving = models[week]
            life.training_s += serving.training_s
        parts.append(serving.right[start:end])
    life.right, life.trainings, life.sent = np.concatenate(parts), len(chosen), len(chosen)
    return life


def _tenths(reference: Any) -> list[tuple[Any, Any]]:
    """Returns (edges, fractions) of the tenths of each column of `reference`."""
    found = []
    for column in reference.T:
        edges = np.unique(np.quantile(column, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
        found.append((edges, _fractions(edges, column)))
    return found


def _fractions(edges: Any, column: Any) -> Any:
    counts = np.bincount(np.searchsorted(edges, column), minlength=len(edges) + 1)
    return np.maximum(counts / counts.sum(), 1e-4)


def _psi(reference: list[tuple[Any, Any]], recent: Any) -> float:
    """The largest population stability index of any column, over tenths of the reference."""
    worst = 0.0
    for (edges, before), column in zip(reference, recent.T, strict=True):
        after = _fractions(edges, column)
        worst = max(worst, float(((after - before) * np.log(after / before)).sum()))
    return worst
