"""When the controller's own policy retrains on a stream: `controller.retraining.decide` and the champion gate,
called once a day.

Decides which facts the policy gets. Refuses to know the streams, and the other policies (`loop_yardsticks`).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from benchmarks.loop_candidates import Candidate, Pipeline, cells
from benchmarks.loop_world import DAY_S, DEVICES, Fitted, World
from benchmarks.loop_yardsticks import Life
from controller.gates.champion import change, gain_of, judge_champion
from controller.gates.verdict import GateVerdict
from controller.retraining.decide import decide
from controller.retraining.facts import Facts
from controller.retraining.model import Decision, Retraining
from controller.retraining.policy import RetrainingPolicy
from controller.retraining.quality import mean_loss, newest_cells, oldest_cells, promised


@dataclass
class _Serving:
    """The version that serves, since which row, and the score that its gate was shown: (fraction right, rows)."""

    model: Fitted
    since: int
    promised: tuple[float, int] = (0.0, 0)


def ours(world: World, policy: RetrainingPolicy) -> Life:
    """Calls the controller's policy and gate once a day."""
    first = world.fitted(world.begins)
    serving, served, pipeline = _Serving(first, world.begins), first.right.copy(), Pipeline(world)
    life = Life(None)
    past: list[Retraining] = []
    for start, end in pairwise(world.days):
        now = float(world.stream.at[start])
        decision = decide(policy, _facts(world, policy, serving, served, until=start, past=past), now)
        if start > world.begins and decision is not None and decision.word == "train":
            candidate = pipeline.candidate(start, serving.model)
            fixed = pipeline.fixed(candidate.model, serving.model)
            verdict = judge_champion(policy.champion, candidate.newest, fixed, "")
            past.append(_attempt(decision, verdict, now, candidate, world.size_bytes))
            gain = _gain(world, candidate.model, serving.model, start)
            _note(life, candidate, gain, passed=verdict.passed)
            day = (now - world.stream.at[world.begins]) / DAY_S
            life.told.append(f"| {day:.0f} | {_told(decision, verdict)} | {100 * gain:+.1f} |")
            if verdict.passed:
                serving = _Serving(candidate.model, start, (candidate.score, candidate.newest.rows))
        served[start:end] = serving.model.right[start:end]
    life.right = served[world.begins :]
    return life


def _gain(world: World, candidate: Fitted, champion: Fitted, start: int) -> float:
    """The true gain of a candidate: of right answers in the 28 days after row `start`."""
    at = world.stream.at
    after = slice(start, int(np.searchsorted(at, at[start] + 28 * DAY_S)))
    return float(candidate.right[after].mean()) - float(champion.right[after].mean())


def _note(life: Life, candidate: Candidate, gain: float, *, passed: bool) -> None:
    """Counts the gate's decisions, and whether the following 28 days show them right."""
    life.trainings, life.training_s = life.trainings + 1, life.training_s + candidate.training_s
    life.sent += passed
    life.stopped += not passed
    life.stopped_worse += gain < 0 and not passed
    life.passed_worse += gain < 0 and passed


def _told(decision: Decision, verdict: GateVerdict) -> str:
    """Why it was trained, the gain at the gate, and the gate's verdict, as cells of a table."""
    why = ", ".join(each.trigger for each in decision.proposals)
    known = gain_of(verdict.evidence)
    shown = "not measured" if known is None else change(known, classifies=True)
    return f"{why}: {decision.reason} | {shown} | {'sent' if verdict.passed else 'stopped'}"


def _facts(
    world: World, policy: RetrainingPolicy, serving: _Serving, served: Any, *, until: int, past: list[Retraining]
) -> Facts:
    quality, since = policy.quality, serving.since
    found = cells(world, served, since, until, quality.block_s) if until > since else []
    recent = newest_cells(found, quality.recent_blocks)
    before = [cell for cell in found if cell not in recent]
    first = mean_loss(oldest_cells(before, quality.reference_blocks))
    like = mean_loss(recent)
    score, rows = serving.promised
    promise = promised(score, rows, classifies=True, like=like) if like is not None and rows else None
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
        training_s=past[-1].training_s if past else serving.model.training_s,
        past=tuple(past),
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
