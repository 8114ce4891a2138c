"""The simulator's four worlds on devices that differ, with hours that resemble each other, seasons and shared shocks.

Decides how devices differ, and how many are canaries. EDGEWARD_SEEDS is the number of seeds for each world; the
default is 20. Results: benchmarks/results/rollouts.md.
"""

import os
from dataclasses import dataclass

from msgspec.structs import replace

from benchmarks.rollouts import SCENARIOS, ratio_ended_well
from benchmarks.table import Row
from firmware_sim.scenario import Scenario, load_scenario

DIFFERS = {"noise_spread": 0.25, "noise_wander": 0.08, "noise_shocks": 0.08, "season": 0.2}
"""Devices' accuracies lie five points apart; each has better and worse hours, all have some together; the level moves
by a fifth in a day."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: a scenario, its changes, and the required result."""

    scenario: str
    percent: int
    """Canaries."""
    must: str
    goal: float | None
    drifts: bool = True
    """Whether sensors drift as in the scenario."""


CASES = (
    Case("worse_model", 5, "stopped within the canaries", None),
    Case("worse_model", 20, "stopped within the canaries", 0.99),
    Case("slower_model", 5, "stopped within the canaries", 0.99),
    Case("crash_on_one_stratum", 5, "that kind alone went back", 0.99),
    Case("drifting_world", 5, "not blamed", 0.95),
    Case("drifting_world", 20, "not blamed, without drift", 0.99, drifts=False),
)
"""The first has no goal: five different devices cannot show five points in an hour and a half."""


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    seeds = int(os.environ.get("EDGEWARD_SEEDS", "20"))
    return [_row(case, seeds) for case in CASES]


def _row(case: Case, seeds: int) -> Row:
    what = f"{case.scenario}, {case.percent} % canaries, {seeds} seeds: {case.must}"
    good = ratio_ended_well(uneven(case), seeds)
    return Row(what, good, 1.0, "", "all seeds", case.goal, at_least=True, absolute=True)


def uneven(case: Case) -> Scenario:
    """Returns the scenario of a case, with devices that differ and so many canaries."""
    alike = load_scenario(SCENARIOS / f"{case.scenario}.toml")
    drift = alike.sensor.drift_per_h if case.drifts else 0.0
    first, *others = alike.strategy.waves
    waves = (replace(first, percent=case.percent), *others)
    return replace(
        alike,
        sensor=replace(alike.sensor, drift_per_h=drift, **DIFFERS),
        strategy=replace(alike.strategy, waves=waves),
    )
