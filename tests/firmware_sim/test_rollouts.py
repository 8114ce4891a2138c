"""Rollouts in virtual time: maintenance hours and holds, shadows, killed controllers, devices that join late."""

import dataclasses
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent.assembly import Assembly
from agent.serving.shadow import Shadow
from contract.desired import TrialPolicy
from controller.broker.retained import RetainedState
from controller.rollout.model import Rule, Strategy, Wave
from firmware_sim.controller import SimController
from firmware_sim.durable import ControllerKilled, DurableHistory, DurableTables
from firmware_sim.runs import run_once
from firmware_sim.scenario import Release, Scenario, Stratum, load_scenario
from firmware_sim.world import FleetWorld

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
TRIAL = TrialPolicy(soak_s=Decimal(30), min_samples=3)


def scenario(devices: int = 1, hours: float = 6.0, *behaviours: str, **changes: Any) -> Scenario:
    releases = tuple(
        Release(at_s=60.0 + 3600.0 * number, behaviour=behaviour)  # type: ignore[arg-type]
        for number, behaviour in enumerate(behaviours or ("good",))
    )
    known = {"strategy": Strategy(name="s", waves=(Wave(percent=100),), trial=TRIAL)} | changes
    return Scenario(name="t", hours=hours, devices=devices, heal_at_s=0.0, release=releases, **known)


def trying(**policy: Any) -> Strategy:
    return Strategy(name="s", waves=(Wave(percent=100),), trial=replace(TRIAL, **policy))


def served_at_s(world: FleetWorld, release: int = 1) -> dict[str, float]:
    """Returns when a release first answered on each device."""
    digest = world.models[release].manifest.artifact.sha256
    return {
        name: next(moment.at for moment in device.history if moment.serving == digest)
        for name, device in world.devices.items()
    }


@pytest.mark.parametrize(("offset_h", "opens_s"), [(0.0, 10_800.0), (2.0, 3600.0), (-1.0, 14_400.0)])
def test_a_device_switches_at_the_start_of_its_maintenance_hours_by_its_own_clock(
    offset_h: float, opens_s: float
) -> None:
    """The world begins at midnight UTC."""
    strategy = trying(maintenance=("03:00-04:00",))
    result, world = run_once(scenario(strategy=strategy, stratum=(Stratum(name="z", utc_offset_h=offset_h),)), 1)
    assert result.violation == ""
    assert opens_s - 0.001 <= served_at_s(world)["d00000"] < opens_s + 60
    waiting = [state for state in world.controller.states["d00000"] if state["phase"] == "ready"]
    assert [state["code"] for state in waiting] == ["outside_maintenance"], "everything was there before, and said once"


def test_an_update_that_waits_for_maintenance_hours_survives_a_reboot_and_is_not_fetched_again() -> None:
    made = scenario(1, 6.0, "good", "good")
    waits = replace(made.release[1], size_bytes=200_000, strategy=trying(maintenance=("03:00-04:00",)))
    world = FleetWorld(replace(made, release=(made.release[0], waits)), 1)
    device, artifact = world.devices["d00000"], world.models[2].manifest.artifact
    world.clock.at(7200.0, device.cut_power)
    world.clock.run(7000.0)
    before = device.link.bytes_down
    world.run()
    assert (device.boots, device.serving) == (2, artifact.sha256)
    again = device.link.bytes_down - before
    assert again < artifact.length / 4, f"{again} bytes came down after the reboot: more than documents"


def test_a_roll_back_does_not_wait_for_maintenance_hours() -> None:
    bad = replace(
        trying(), waves=(Wave(percent=100, soak_s=3600.0),), rules=(Rule(metric="failed_ratio", threshold=0.0),)
    )
    made = scenario(1, 6.0, "good", strategy=trying(maintenance=("00:00-01:00",)))
    made = replace(
        made,
        release=(
            *made.release,
            Release(
                at_s=600.0,
                behaviour="wrong",
                expect="rolled_back",
                strategy=replace(bad, trial=replace(TRIAL, maintenance=("00:00-01:00",))),
            ),
        ),
    )
    result, world = run_once(made, 1)
    assert result.violation == ""
    ended = [at for at, rollout in world.controller.history if rollout.status == "rolled_back"]
    assert ended[0] < 3600.0


def test_an_application_that_holds_updates_forever_is_overruled_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "firmware_sim.device.Assembly",
        lambda config, identity, ports: Assembly(config, identity, dataclasses.replace(ports, holds=lambda: True)),
    )
    result, world = run_once(scenario(strategy=trying(max_hold_s=Decimal(1800))), 1)
    assert result.violation == ""
    assert 1860.0 <= served_at_s(world)["d00000"] < 1900.0
    assert [s["code"] for s in world.controller.states["d00000"] if s["phase"] == "ready"] == ["update_held"]


def test_stable_answers_beside_a_trial_and_separates_drifting_inputs_from_a_worse_model() -> None:
    drifting = load_scenario(SCENARIOS / "drifting_world.toml")
    kept, _ = run_once(drifting, 3)
    assert kept.violation == ""
    shadows: Counter[str] = Counter()

    class Counting(Shadow):
        def run(self, now: float) -> None:
            shadows[self.candidate.version] += bool(self._waiting)
            super().run(now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.serving.lineup.Shadow", Counting)
        run_once(replace(drifting, hours=0.5, heal_at_s=1000.0, devices=20), 1)
    assert set(shadows) == {"1"}, "the one that is repeated is stable, beside the second release"


SHADOWED = Strategy(
    name="s",
    waves=(Wave(percent=20, mode="shadow", soak_s=300.0), Wave(percent=20, soak_s=60.0), Wave(percent=100)),
    rules=(
        Rule(metric="agreement", threshold=0.9, min_samples=20, on_missing="skip", on_fail="abort"),
        Rule(metric="failed_ratio", threshold=0.0, on_fail="abort"),
    ),
    trial=TRIAL,
)


def test_a_shadow_wave_reaches_the_fleet_when_it_agrees() -> None:
    made = scenario(10, 3.0, "good", "good")
    made = replace(made, release=(made.release[0], replace(made.release[1], strategy=SHADOWED)))
    result, world = run_once(made, 1)
    assert result.violation == ""
    last = world.controller.history[-1][1]
    assert (last.status, last.wave) == ("completed", 2)
    shadow = next(member.device for member in last.members if member.wave == 0)
    told = [state["outcome"]["result"] for state in world.controller.states[shadow] if state["outcome"]]
    assert told.index("shadowed") < len(told) - 1 - told[::-1].index("confirmed")


def test_a_shadow_that_disagrees_never_serves() -> None:
    made = scenario(10, 3.0, "good", "wrong")
    made = replace(made, release=(made.release[0], replace(made.release[1], strategy=SHADOWED)))
    _, world = run_once(made, 1)
    last = world.controller.history[-1][1]
    assert last.status in ("aborted", "aborting")
    bad = world.models[2].manifest.artifact.sha256
    assert not any(moment.serving == bad for device in world.devices.values() for moment in device.history)
    assert all(device.record.trial is None for device in world.devices.values())


STEPS = ("before anything", "rows written", "history written", "published", "after everything")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("devices", [30, *(pytest.param(devices, marks=pytest.mark.soak) for devices in (60, 1000))])
def test_a_controller_killed_in_every_pass_ends_like_one_that_runs(
    devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three waves; each pass is cut at another step. Members and end are the same; no device gets an offer twice."""
    waves = (Wave(percent=2, soak_s=120.0), Wave(percent=30, soak_s=60.0), Wave(percent=100))
    rules = (Rule(metric="failed_ratio", threshold=0.0),)
    strategy = Strategy(name="s", waves=waves, rules=rules, trial=TRIAL)
    made = scenario(devices, 1.5, strategy=strategy, reconcile_s=20.0, heartbeat_s=300.0, sample_every_s=10.0)
    made = replace(made, release=(replace(made.release[0], at_s=1000.0),))
    lived = run_once(made, 1)[1].controller
    kills = _kill_at_every_pass(monkeypatch)
    result, world = run_once(made, 1)
    died = world.controller
    assert result.violation == ""
    assert died.kills == sum(kills.values()) > 60
    assert set(kills) == set(STEPS)
    last = died.history[-1][1]
    assert (last.status, last.members, last.plan_digest) == (
        "completed",
        lived.history[-1][1].members,
        lived.history[-1][1].plan_digest,
    )
    generations = {(device, release, generation) for _, device, release, generation in died.offers}
    assert len(generations) == len({(device, release) for device, release, _ in generations}) == devices


def _kill_at_every_pass(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Kills each pass at the step whose turn it is, and starts the controller again a second later."""
    kills: Counter[str] = Counter()
    turn = {"at": 0}
    run_pass, publish = SimController._pass, RetainedState.publish_for

    def dies_at(step: str) -> bool:
        return STEPS[turn["at"] % len(STEPS)] == step

    def cut(step: str, function: Any) -> Any:
        def cut_function(*given: Any, **named: Any) -> Any:
            found = function(*given, **named)
            if turn.get("in_pass") and dies_at(step):
                raise ControllerKilled
            return found

        return cut_function

    def one_pass(self: SimController, epoch: int) -> None:
        if epoch != self._epoch:
            return
        step = STEPS[turn["at"] % len(STEPS)]
        self.back_after_s = 1.0
        turn["in_pass"] = 1
        if step != "before anything":
            run_pass(self, epoch)
        turn["in_pass"] = 0
        turn["at"] += 1
        kills[step] += 1
        if epoch == self._epoch:  # it has lived through the pass: nothing of the kind was to be done
            self._die()

    patch.setattr(SimController, "_pass", one_pass)
    patch.setattr(RetainedState, "publish_for", cut("published", publish))
    patch.setattr(DurableTables, "write", cut("rows written", DurableTables.write))
    patch.setattr(DurableHistory, "record", cut("history written", DurableHistory.record))
    return kills
