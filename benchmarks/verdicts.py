"""Verdicts on realistic fleets: false stops, missed releases and hours to a stop, compared with the previous engine.

EDGEWARD_ROLLOUTS is the number of rollouts of each kind; the default is 500. Results: benchmarks/results/verdicts.md.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks import old_engine
from benchmarks.table import Row
from benchmarks.verdict_worlds import HOUR_S, PAST_H, Fleet, Harm, World
from controller.rollout.analysis import judge_all
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.rollout.rows import COUNTS

RULES = (
    Rule(metric="error_ratio", threshold=0.02, min_samples=30, on_missing="skip", scope="stratum"),
    Rule(metric="accuracy_drop", threshold=0.02, min_samples=100, on_missing="skip"),
    Rule(metric="error_increase", threshold=0.1, min_samples=100, on_missing="skip"),
    Rule(metric="latency_ratio_p95", threshold=1.5, min_samples=30, on_missing="skip"),
)
GOOD_WITH_TIMES = 5
"""One in this many good rollouts has latencies too: their rule has never stopped a good one, and they are slow to
simulate."""
HARMS = {
    "good": (Harm(), False, ""),
    "good regression": (Harm(), True, ""),
    "just allowed, 2 points": (Harm(accuracy=0.02), False, ""),
    "accuracy down by 4 points, 2 allowed": (Harm(accuracy=0.04), False, "accuracy_drop"),
    "three times as slow, 1.5 allowed": (Harm(times=3.0), False, "latency_ratio_p95"),
    "4 % crash on one stratum, 2 % allowed": (Harm(errors_on_small=0.04), False, "error_ratio"),
    "regression, 20 % more error, 10 % allowed": (Harm(error_times=1.2), True, "error_increase"),
}

GOOD = ("good", "good regression")


class Ending(NamedTuple):
    """The end of one rollout: the rule that stopped it, and after how many hours (0: no rule did)."""

    metric: str = ""
    after_h: int = 0


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    count = int(os.environ.get("EDGEWARD_ROLLOUTS", "500"))
    rows = []
    for spread in (0.05, 0.08):
        rows += _of_fleet(f"sd {spread:g}", Fleet(spread=spread), count)
    return [*rows, *_of_fleet("50 devices, sd 0.05", Fleet(devices=50, spread=0.05), count, bars=False)]


def _of_fleet(name: str, fleet: Fleet, count: int, *, bars: bool = True) -> list[Row]:
    found = {kind: _run(kind, fleet, count) for kind in HARMS}
    rows: list[Row] = []
    for kind, endings in found.items():
        cause = HARMS[kind][2]
        ours, theirs = (np.mean([stopped(pair[at], cause) for pair in endings]) for at in (0, 1))
        at_canary = np.mean([stopped(pair[0], cause) and pair[0].after_h <= fleet.canary_h for pair in endings])
        goal, what = (0.99, "stopped") if cause else (0.01, "stopped falsely")
        rows.append(
            _row(f"{name}, {kind}: {what}", float(ours), float(theirs), goal if bars else None, at_least=bool(cause))
        )
        if cause:
            hours = [_median([pair[at].after_h for pair in endings if stopped(pair[at], cause)]) for at in (0, 1)]
            rows.append(Row(f"{name}, {kind}: hours, median", hours[0], hours[1], "h", "the engine before"))
            rows.append(Row(f"{name}, {kind}: stopped within the canary wave", float(at_canary), 0.0, "", "none"))
    precision = [_precision(found, at) for at in (0, 1)]
    what = f"{name}: precision, as many good as bad"
    rows.append(_row(what, precision[0], precision[1], 0.95 if bars else None, at_least=True))
    return rows


def _precision(found: Mapping[str, Sequence[tuple[Ending, Ending]]], at: int) -> float:
    """Returns the fraction of bad releases among stopped rollouts, for as many good rollouts as bad ones."""
    rightly = [np.mean([stopped(pair[at], HARMS[kind][2]) for pair in found[kind]]) for kind in HARMS if HARMS[kind][2]]
    falsely = [np.mean([stopped(pair[at]) for pair in found[kind]]) for kind in GOOD]
    return float(np.mean(rightly) / (np.mean(rightly) + np.mean(falsely)))


def stopped(ending: Ending, cause: str = "") -> bool:
    """Returns whether a rollout was stopped, and by the rule `cause` if one is given."""
    return ending.after_h > 0 and cause in ("", ending.metric)


def _row(what: str, ours: float, theirs: float, goal: float | None, *, at_least: bool) -> Row:
    return Row(what, ours, theirs, "", "the engine before", goal, at_least=at_least, absolute=True)


def _median(hours: Sequence[int]) -> float:
    return float(np.median(hours)) if hours else float("nan")


def _run(kind: str, fleet: Fleet, count: int) -> list[tuple[Ending, Ending]]:
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        return pool.starmap(_one, [(kind, fleet, seed) for seed in range(count)], chunksize=8)


def _one(kind: str, fleet: Fleet, seed: int) -> tuple[Ending, Ending]:
    """(how it ends today, how it ended before) of one seed."""
    harm, regression, cause = HARMS[kind]
    with_times = cause == "latency_ratio_p95" or (cause == "" and not regression and seed % GOOD_WITH_TIMES == 0)
    seeds = 1_000_003 * list(HARMS).index(kind) + seed
    world = World(dataclasses.replace(fleet, regression=regression, with_times=with_times), harm, seeds)
    return _today(world), _before(world)


def _today(world: World) -> Ending:
    rollout = _rollout(world)
    looks = [hour for hour in range(PAST_H + 1, world.hours + 1) if _is_look(world, hour)]
    outcomes = {member.device: "succeeded" for member in rollout.members}
    for hour in looks:
        verdicts = judge_all(rollout, world.until(hour), outcomes, hour * HOUR_S)  # type: ignore[arg-type]
        for verdict in verdicts:
            if verdict.word == "fail":
                return Ending(verdict.metric, hour - PAST_H)
    return Ending()


def _is_look(world: World, hour: int) -> bool:
    """Whether verdicts are looked at after this hour: each of the first six of a wave, then every third."""
    into_wave = (hour - PAST_H - 1) % world.fleet.canary_h + 1
    return into_wave <= 6 or into_wave % 3 == 0


def _before(world: World) -> Ending:
    cells: dict[str, list[old_engine.Cell]] = {"big": [], "small": []}
    for hour in range(PAST_H, world.hours):
        look = _is_look(world, hour + 1)
        for name, kind in (("big", ~world.small), ("small", world.small)):
            sides = [
                _sums(world, kind & world.treated[:, hour], hour),
                _sums(world, kind & ~world.treated[:, hour], hour),
            ]
            cells[name].append(old_engine.Cell(*sides))
        for rule in _rules(world) if look else ():
            apart = list(cells.values()) if rule.scope == "stratum" else [cells["big"] + cells["small"]]
            if any(old_engine.fails(rule, each, len(apart)) for each in apart):
                return Ending(rule.metric, hour + 1 - PAST_H)
    return Ending()


def _sums(world: World, devices: NDArray[np.bool_], hour: int) -> Sums:
    rows = np.flatnonzero(devices) * world.hours + hour
    counts = dict(zip(COUNTS, world.table.counts[rows].sum(axis=0).tolist(), strict=True))
    times = tuple(world.table.latency[rows].sum(axis=0).tolist())
    whole = {name: value if name.endswith("sum") else int(value) for name, value in counts.items()}
    return Sums(**whole, latency_counts=times)  # type: ignore[arg-type]


def _rules(world: World) -> tuple[Rule, ...]:
    """All rules for whose metrics the world has numbers."""
    return RULES if world.fleet.with_times else RULES[:-1]


def _rollout(world: World) -> Rollout:
    members = tuple(
        Member(device=name, wave=0, stratum="small" if small else "big")
        for name, small in zip(world.names, world.small.tolist(), strict=True)
    )
    strategy = Strategy(name="s", waves=(Wave(percent=100),), rules=_rules(world))
    return replace(
        Rollout(id="r", model="m", release=2, digest="", strategy=strategy, members=members), began_at=PAST_H * HOUR_S
    )
