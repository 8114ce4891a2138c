"""SD cards that are replaced and copies of devices, in virtual time: they affect their own device and no other."""

from pathlib import Path
from typing import Any

from firmware_sim.runs import run_once
from firmware_sim.scenario import Scenario, load_scenario
from firmware_sim.world import FleetWorld

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def world_of(scenario: Scenario, seed: int = 1) -> FleetWorld:
    result, world = run_once(scenario, seed)
    assert result.violation == ""
    return world


def test_a_restored_sd_card_gets_the_newer_version_again_and_serves_all_the_time() -> None:
    world = world_of(load_scenario(SCENARIOS / "restored_card.toml"))
    assert len(world.seen.heard) == 2
    for _, device, _ in world.seen.heard:
        releases = [m.record.stable.manifest.release for m in world.devices[device].history if m.record.stable]
        assert releases.index(2) < len(releases) - 1 - releases[::-1].index(1), "it ran v2, then v1 of the backup"
        assert releases[-1] == 3


def test_a_copied_device_is_reported_while_it_runs_and_forgotten_afterwards() -> None:
    world = world_of(load_scenario(SCENARIOS / "cloned_identity.toml"))
    assert [is_told for *_, is_told in world.seen.told] == [True, True]
    twins: Any = world.controller.world.durable.twins
    assert not any(twin.boots.is_taken(world.clock.now) for twin in twins.values())
