"""Cards that change and copies of devices, in virtual time: they cost the device that they meet, and no other."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from firmware_sim.cards import CardFault
from firmware_sim.runs import run_once
from firmware_sim.scenario import Scenario, load_scenario
from firmware_sim.world import FleetWorld

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
CARDS = ("restored_card", "reflashed_card", "cloned_identity")
DELAY_S = 60.0
"""By so much another device may be later than it is without the fault: two passes and its next heartbeat."""


def world_of(scenario: Scenario, seed: int = 1) -> FleetWorld:
    result, world = run_once(scenario, seed)
    assert result.violation == ""
    return world


def confirmed_at_s(world: FleetWorld, device: str) -> dict[int, float]:
    """By release, when it became stable on a device for the first time."""
    found: dict[int, float] = {}
    for moment in world.devices[device].history:
        if moment.record.stable is not None:
            found.setdefault(moment.record.stable.manifest.release, moment.at)
    return found


@pytest.mark.parametrize("name", CARDS)
def test_one_bad_device_never_delays_another(name: str) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.toml")
    (fault,) = (each for each in scenario.fault if isinstance(each, CardFault))
    hit, well = world_of(scenario), world_of(replace(scenario, fault=()))
    others = list(hit.devices)[fault.devices :]
    assert len(others) >= 5
    for device in others:
        with_fault, without = confirmed_at_s(hit, device), confirmed_at_s(well, device)
        assert with_fault.keys() == without.keys() == {1, 2}
        assert all(with_fault[release] <= without[release] + DELAY_S for release in with_fault)


def test_a_restored_card_is_told_the_newer_version_again_and_serves_all_the_time() -> None:
    world = world_of(load_scenario(SCENARIOS / "restored_card.toml"))
    assert len(world.seen.heard) == 2
    for _, device, _ in world.seen.heard:
        releases = [m.record.stable.manifest.release for m in world.devices[device].history if m.record.stable]
        assert releases.index(2) < len(releases) - 1 - releases[::-1].index(1), "it ran v2, then v1 of the backup"
        assert releases[-1] == 2


def test_a_copy_is_told_while_it_runs_and_forgotten_afterwards() -> None:
    world = world_of(load_scenario(SCENARIOS / "cloned_identity.toml"))
    assert [is_told for *_, is_told in world.seen.told] == [True, True]
    twins: Any = world.controller.world.durable.twins
    assert not any(twin.boots.is_taken(world.clock.now) for twin in twins.values())
