"""When five policies retrain on a series: never, daily, on drift, ours, and the oracle that knows the future.

Decides what each of them does on each day. `ours` is the controller's own code: `controller.retraining.decide` and the
champion gate. Refuses to know the series.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from benchmarks.loop_world import DAY_S, DEVICES, Candidate, World
from controller.gates.champion import gain_of, judge_champion
from controller.retraining.decide import decide
from controller.retraining.facts import Facts
from controller.retraining.model import Retraining
from controller.retraining.policy import RetrainingPolicy
from controller.retraining.quality import mean_loss, newest_cells, oldest_cells, promised

PSI_ALARM = 0.2
"""The usual limit of the population stability index."""
PSI_BINS = 10


@dataclass
class Life:
    """The course of a series under one policy."""

    right: Any
    """By row in life, whether the fleet's answer was right."""
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
    """The size of a version as it is sent, in bytes."""
    told: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Of all answers in life."""
        return float(self.right.mean())

    def utility(self, world: World, policy: RetrainingPolicy) -> float:
        """Right answers of the fleet, minus the costs of trainings, bytes and rollouts."""
        costs = policy.costs
        a_rollout = costs.per_rollout + costs.per_mb * DEVICES * world.size_bytes / 1e6
        return DEVICES * float(self.right.sum()) - costs.per_training_s * self.training_s - a_rollout * self.sent


def never(world: World) -> Life:
    """Keeps the first version for ever."""
    return Life(world.candidate(world.begins, hold_out=False).right[world.begins :])


def daily(world: World) -> Life:
    """Makes a new version each day, whatever its quality."""
    return _unconditional(world, lambda _: True)


def on_drift(world: World) -> Life:
    """Makes a new version whenever a column of the newest 28 days has moved from those of the training rows (PSI)."""
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


def ours(world: World, policy: RetrainingPolicy) -> Life:
    """Asks the controller's policy and gate once a day."""
    serving = world.candidate(world.begins, hold_out=True)
    served = serving.right.copy()
    life, since, past = Life(None), world.begins, []
    for start, end in pairwise(world.days):
        now = float(world.stream.at[start])
        facts = _facts(world, policy, serving, served, life=(since, start), past=tuple(past))
        decision = decide(policy, facts, now) if start > world.begins else None
        if decision is not None and decision.word == "train":
            candidate = world.candidate(start, hold_out=True)
            life.trainings, life.training_s = life.trainings + 1, life.training_s + candidate.training_s
            newest = np.arange(candidate.fitted_until, start)
            verdict = judge_champion(
                policy.champion,
                world.held_out(candidate, serving, newest),
                world.held_out(candidate, serving, world.plain),
                "",
            )
            life.told.append(f"day {(now - world.stream.at[world.begins]) / DAY_S:.0f}: {verdict.detail}")
            past.append(_attempt(decision, verdict, now, candidate, world.size_bytes))
            _note(life, world, candidate, serving, passed=verdict.passed, start=start)
            if verdict.passed:
                serving, since = candidate, start
        served[start:end] = serving.right[start:end]
    life.right = served[world.begins :]
    return life


def _note(life: Life, world: World, candidate: Candidate, serving: Candidate, *, passed: bool, start: int) -> None:
    """Counts what the gate did, and whether it was right by the following 28 days."""
    after = slice(start, int(np.searchsorted(world.stream.at, world.stream.at[start] + 28 * DAY_S)))
    worse = bool(candidate.right[after].mean() < serving.right[after].mean())
    life.sent += passed
    life.stopped += not passed
    life.stopped_worse += worse and not passed
    life.passed_worse += worse and passed


def _facts(
    world: World,
    policy: RetrainingPolicy,
    serving: Candidate,
    served: Any,
    *,
    life: tuple[int, int],
    past: tuple[Retraining, ...],
) -> Facts:
    quality, (since, until) = policy.quality, life
    cells = world.cells(served, since, until, quality.block_s) if until > since else []
    recent = newest_cells(cells, quality.recent_blocks)
    before = [cell for cell in cells if cell not in recent]
    first = mean_loss(oldest_cells(before, quality.reference_blocks))
    like = mean_loss(recent)
    held = serving.right[serving.fitted_until : serving.until]
    promise = promised(float(held.mean()), len(held), classifies=True, like=like) if like is not None else None
    known = [each for each in (first, promise) if each is not None]
    at = world.stream.at
    return Facts(
        model=world.stream.name,
        champion=1 + sum(each.status == "passed" for each in past),
        champion_at=float(at[since]),
        classifies=True,
        recent=tuple(recent),
        reference=min(known, key=lambda mean: mean.loss) if known else None,
        new_labels=until - since,
        answers_per_s=DEVICES * (len(at) - 1) / float(at[-1] - at[0]),
        devices=DEVICES,
        size_bytes=world.size_bytes,
        training_s=serving.training_s,
        past=past,
    )


def _attempt(decision: Any, verdict: Any, now: float, candidate: Candidate, size_bytes: int) -> Retraining:
    return Retraining(
        id=f"t-{now:.0f}",
        model=decision.model,
        champion=decision.champion,
        status="passed" if verdict.passed else "stopped",
        decision=msgspec.structs.replace(decision, proposals=()),
        created_at=now,
        began_at=now,
        ended_at=now,
        training_s=candidate.training_s,
        candidate_bytes=size_bytes,
        gain=gain_of(verdict.evidence),
    )


def oracle(world: World, policy: RetrainingPolicy) -> Life:
    """The best weeks to retrain, found with hindsight by dynamic programming over (week, model), at the same costs."""
    weeks = [*world.days[::7], world.days[-1]]
    spans = list(pairwise(weeks))
    models = [world.candidate(start, hold_out=False) for start, _ in spans]
    costs, best = policy.costs, {0: (0.0, ())}
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
