"""When the controller's own policy retrains on a stream: `controller.retraining.decide` and the champion gate,
called once a day.

Decides which facts the policy gets. Refuses to know the streams, and the other policies (`loop_yardsticks`).
"""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from benchmarks.loop_world import DAY_S, DEVICES, Candidate, World
from benchmarks.loop_yardsticks import Life
from controller.gates.champion import gain_of, judge_champion
from controller.retraining.decide import decide
from controller.retraining.facts import Facts
from controller.retraining.model import Retraining
from controller.retraining.policy import RetrainingPolicy
from controller.retraining.quality import mean_loss, newest_cells, oldest_cells, promised


def ours(world: World, policy: RetrainingPolicy) -> Life:
    """Calls the controller's policy and gate once a day."""
    serving = world.candidate(world.begins, hold_out=True)
    served = serving.right.copy()
    life, since = Life(None), world.begins
    past: list[Retraining] = []
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
    """Counts the gate's decisions, and whether the following 28 days show them right."""
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
