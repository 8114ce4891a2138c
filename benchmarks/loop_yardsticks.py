"""The yardsticks of the loop's benchmark: never, on drift, and the oracle that has the future data.

Decides when each of them retrains. They use only the costs of Edgeward's policy, so their results are kept until
this code, the streams or scikit-learn change: they take 20 minutes, and Edgeward's policy one. Refuses to know the
streams.
"""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from benchmarks.loop_streams import CACHE
from benchmarks.loop_world import DAY_S, DEVICES, World
from controller.retraining.policy import Costs

PSI_ALARM = 0.2
"""The usual limit of the population stability index."""
PSI_BINS = 10
_SOURCES = ("loop_streams.py", "loop_world.py", "loop_yardsticks.py")


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


def kept(world: World, name: str, costs: Costs, live: Callable[[], Life]) -> Life:
    """The result of a stream under a yardstick, computed once."""
    sources = b"".join((Path(__file__).parent / each).read_bytes() for each in _SOURCES)
    told = f"{world.stream.name} {name} {sklearn.__version__} {costs}".encode()
    path = CACHE / f"loop-{hashlib.sha256(sources + told).hexdigest()[:20]}.pickle"
    if path.is_file():
        found: Life = pickle.loads(path.read_bytes())
        return found
    life = live()
    path.write_bytes(pickle.dumps(life))
    return life


def never(world: World) -> Life:
    """The first version forever."""
    return Life(world.candidate(world.begins, hold_out=False).right[world.begins :])


def on_drift(world: World) -> Life:
    """A new version whenever a column of the newest 28 days has moved from those of the training rows (PSI)."""
    begin = {"first": 0, "until": world.begins}

    def moved(until: int) -> bool:
        rows, at = world.stream.rows, world.stream.at
        if at[until - 1] - at[begin["until"]] < 28 * DAY_S:
            return False
        since = int(np.searchsorted(at, at[until - 1] - 28 * DAY_S))
        if _psi(rows[begin["first"] : begin["until"]], rows[since:until]) < PSI_ALARM:
            return False
        begin["first"], begin["until"] = world.candidate(until, hold_out=False).first, until
        return True

    return _unconditional(world, moved)


def _unconditional(world: World, wanted: Any) -> Life:
    serving, life, parts = world.candidate(world.begins, hold_out=False), Life(None), []
    for start, end in pairwise(world.days):
        if start > world.begins and wanted(start):
            serving = world.candidate(start, hold_out=False)
            life.trainings, life.sent = life.trainings + 1, life.sent + 1
            life.training_s += serving.training_s
        parts.append(serving.right[start:end])
    life.right = np.concatenate(parts)
    return life


def oracle(world: World, costs: Costs) -> Life:
    """The best weeks to retrain, found with hindsight by dynamic programming over (week, model), at the same costs."""
    weeks = [*world.days[::7], world.days[-1]]
    spans = list(pairwise(weeks))
    models = [world.candidate(start, hold_out=False) for start, _ in spans]
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


def _psi(reference: Any, recent: Any) -> float:
    """The largest population stability index of any column, over tenths of the reference."""
    worst = 0.0
    for column in range(reference.shape[1]):
        edges = np.unique(np.quantile(reference[:, column], np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
        counts = [
            np.bincount(np.searchsorted(edges, part[:, column]), minlength=len(edges) + 1)
            for part in (reference, recent)
        ]
        before, after = (np.maximum(count / count.sum(), 1e-4) for count in counts)
        worst = max(worst, float(((after - before) * np.log(after / before)).sum()))
    return worst
