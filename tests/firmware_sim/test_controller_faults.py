"""The controller's own faults in virtual time: they have effects, follow from the seed, and break no law."""

from pathlib import Path

import pytest

from firmware_sim.runs import run_once
from firmware_sim.scenario import load_scenario

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_controller_that_is_killed_at_any_step_breaks_no_law(seed: int) -> None:
    scenario = load_scenario(SCENARIOS / "controller_crashes.toml")
    (first, world), (second, _) = run_once(scenario, seed), run_once(scenario, seed)
    assert (first.violation, second.trace_hash) == ("", first.trace_hash)
    assert world.controller.kills >= 3
    assert all(version <= durable for _, _, version, durable in world.controller.published)


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_controller_whose_disk_refuses_writes_breaks_no_law(seed: int) -> None:
    result, world = run_once(load_scenario(SCENARIOS / "disk_fails.toml"), seed)
    assert result.violation == ""
    assert world.controller.faults.failed_writes > 30
    assert not world.controller.kills
    assert world.controller.acknowledged, "what was refused at first was durable later, and acknowledged then"
