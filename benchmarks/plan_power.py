"""What `rollout plan` promises before a rollout, held against what then happens: power and false stops of few canaries.

Each seed is one fleet of `verdict_worlds`: devices that differ, AR(1) hours, a day, shared shocks. From its two days
before the release the plan names the smallest drop of accuracy that it finds with 80 %. A release then costs exactly
that much, and as much as is allowed, and nothing. Decides fleets. EDGEWARD_ROLLOUTS is the number of seeds, by default
100. Results: benchmarks/results/verdicts.md.
"""

import os
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row
from benchmarks.verdict_worlds import HOUR_S, PAST_H, Fleet, Harm, World
from controller.rollout.analysis import judge_all
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.rollout.power import past_of, shown_by, smallest_found

RULE = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100, on_missing="skip")
ALLOWED = RULE.threshold
FLEETS = {
    "5 of 100": Fleet(devices=100, canaries=0.05, with_times=False, half_h=0),
    "10 of 200": Fleet(devices=200, canaries=0.05, with_times=False, half_h=0),
    "20 of 100": Fleet(devices=100, canaries=0.2, with_times=False, half_h=0),
    "5 of 100, sd 0.08, restless": Fleet(
        devices=100, canaries=0.05, spread=0.08, wander=0.04, with_times=False, half_h=0
    ),
}
LEAST, MOST = 0.7, 1.0
"""Of a promised 80 %: a plan may promise too little, and must not promise much too much."""


class Seed(NamedTuple):
    """One fleet: what its plan promises, and which releases its canaries stopped."""

    finds: float
    found: bool
    stopped_allowed: bool
    stopped_good: bool


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    count = int(os.environ.get("EDGEWARD_ROLLOUTS", "100"))
    return [row for name in FLEETS for row in _rows(name, count)]


def _rows(name: str, count: int) -> list[Row]:
    with get_context("spawn").Pool(1) as pool:
        seeds = pool.starmap(one, [(name, seed) for seed in range(count)])
    finds = float(np.median([each.finds for each in seeds]))
    found, allowed, good = (
        float(np.mean([getattr(each, what) for each in seeds])) for what in ("found", "stopped_allowed", "stopped_good")
    )
    plan = "the plan's own promise"
    return [
        Row(f"{name}: smallest drop that the plan finds, median", finds, ALLOWED, "", "allowed"),
        Row(f"{name}: found of those", found, 0.8, "", plan, LEAST, at_least=True, absolute=True),
        Row(f"{name}: stopped of just allowed", allowed, 0.0, "", "none", 0.01, absolute=True),
        Row(f"{name}: stopped of good", good, 0.0, "", "none", 0.01, absolute=True),
    ]


def one(name: str, seed: int) -> Seed:
    """Returns what happens to the fleet of one seed."""
    fleet = FLEETS[name]
    before = World(fleet, Harm(), seed)
    kinds = {device: "small" if small else "big" for device, small in zip(before.names, before.small, strict=True)}
    soak_s = fleet.canary_h * HOUR_S
    shown = shown_by("accuracy_drop", past_of(before.until(PAST_H).table(), kinds), soak_s)
    first = int((before.began == PAST_H).sum())
    per_device = shown.per_hour * fleet.canary_h
    finds = smallest_found(RULE, first, fleet.devices - first, int(first * per_device), shown=shown)
    harms = (finds, ALLOWED, 0.0)
    stopped = [_stops(fleet, Harm(accuracy=harm), seed, kinds) for harm in harms]
    return Seed(finds, *stopped)


def _stops(fleet: Fleet, harm: Harm, seed: int, kinds: dict[str, str]) -> bool:
    world = World(fleet, harm, seed)
    members = tuple(Member(device=name, wave=0, stratum=kinds[name]) for name in world.names)
    strategy = Strategy(name="s", waves=(Wave(percent=100),), rules=(RULE,))
    rollout = Rollout(id="r", model="m", release=2, digest="", strategy=strategy, members=members)
    outcomes = {member.device: "succeeded" for member in members}
    for hour in range(PAST_H + 1, world.hours + 1):
        into = hour - PAST_H
        if into > 6 and into % 3:
            continue
        verdicts = judge_all(rollout, world.until(hour), outcomes, hour * HOUR_S)  # type: ignore[arg-type]
        if verdicts[0].word == "fail":
            return True
    return False
