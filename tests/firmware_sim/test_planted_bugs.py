"""Bugs planted all over agent and controller, `one_pass` among them: each is noticed by the law beside it."""

from pathlib import Path

import pytest

from firmware_sim.checkers.fleet import keeps_its_model
from firmware_sim.checkers.law import Violation
from firmware_sim.runs import run_once
from firmware_sim.scenario import load_scenario
from firmware_sim.world import FleetWorld
from tests.firmware_sim.bugs_of_the_agent import BUGS_OF_THE_AGENT
from tests.firmware_sim.bugs_of_the_controller import (
    BUGS_OF_THE_CONTROLLER,
    what_a_restored_controller_does_not_know_is_withdrawn,
)
from tests.firmware_sim.planted_bug import Bug

pytestmark = pytest.mark.no_cover  # the same worlds are measured in test_worlds, at two and a half times the cost
BUGS = [*BUGS_OF_THE_AGENT, *BUGS_OF_THE_CONTROLLER]
SEEDS = range(1, 6)
"""With nothing planted none of them breaks a law: test_worlds, for large worlds from the second on in `make soak`."""
SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def laws_broken(scenario: str) -> str:
    """The first law that some seed breaks; empty when all are kept."""
    loaded = load_scenario(SCENARIOS / f"{scenario}.toml")
    return next((result.law for seed in SEEDS if (result := run_once(loaded, seed)[0]).law), "")


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: f"{planted.where}-{planted.name}")
def test_a_planted_bug_is_caught_by_its_checker(planted: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    assert laws_broken(planted.scenario) == planted.law


def test_a_lost_model_violates_its_own_law(monkeypatch: pytest.MonkeyPatch) -> None:
    what_a_restored_controller_does_not_know_is_withdrawn(monkeypatch)
    world = FleetWorld(load_scenario(SCENARIOS / "controller_restored_early.toml"), 1)
    world.run()
    with pytest.raises(Violation, match="keeps_its_model"):
        keeps_its_model(world)


def test_at_least_twenty_bugs_are_planted_in_all_rooms() -> None:
    assert len(BUGS) >= 20
    assert {planted.where for planted in BUGS} >= {
        "agent",
        "store",
        "transfer",
        "reconcile",
        "one_pass",
        "rollout",
        "publisher",
    }
