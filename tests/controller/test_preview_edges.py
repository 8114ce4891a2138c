"""The plan in figures: how long offers take, what the first wave can detect, and the field names of old plans."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.messages import MetricSums, ModelInterval, ModelState, SensorState, Telemetry, VersionRef
from controller.fleet.fit import Form
from controller.fleet.traffic import Traffic
from controller.fleet.twin import Twin
from controller.reconcile.membership import quiet_of
from controller.reconcile.old_words import in_words_of_now
from controller.reconcile.preview import plan_rollout, preview, refuse_powerless
from controller.reconcile.world import Durable, World
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.rollout.power import assumed, power_of
from controller.rollout.schedule import Schedule
from firmware_sim.models import make_model

V1 = VersionRef(release=1, digest="1" * 64)
FORM = Form(
    name="", digest="2" * 64, artifact_bytes=1, golden_bytes=1, release=2, hardware=("x86_64",), memory_mb=64, opset=18,
    ml_opset=3,
)  # fmt: skip
TRIAL = TrialPolicy(soak_s=Decimal(10))


def rollout(*members: Member, **strategy: Any) -> Rollout:
    waves = (Wave(percent=50, soak_s=5.0), Wave(percent=100, soak_s=7.0))
    known = Strategy(**{"name": "s", "waves": waves, "trial": TRIAL, **strategy})
    return Rollout(id="r", model="m", release=2, digest=FORM.digest, strategy=known, members=members, forms=(FORM,))


def members(first: int, second: int = 0) -> tuple[Member, ...]:
    named = [Member(device=f"a{number}", wave=0) for number in range(first)]
    return (*named, *(Member(device=f"b{number}", wave=1) for number in range(second)))


@pytest.mark.parametrize(
    ("strategy", "finish_s"),
    [
        ({}, (10 + 5) + (10 + 7)),
        ({"per_minute": 60.0}, (119 + 10 + 5) + (10 + 7)),
        ({"per_minute": 60.0, "jitter_s": 200.0}, (200 + 10 + 5) + (200 + 10 + 7)),
        ({"per_minute": 60.0, "growth_per_minute": 60.0}, (71 / 60 * 28.5 + 10 + 5) + (10 + 7)),
    ],
)
def test_the_duration_of_a_wave_is_offers_plus_trial_plus_soak(strategy: dict[str, float], finish_s: float) -> None:
    seen = preview(World(silent_s=90.0), rollout(*members(120, 1), **strategy), 0.0)
    assert abs(seen.finish_s - finish_s) <= 4.0


def test_long_offers_are_computed_in_steps_of_a_hundredth() -> None:
    seen = preview(World(silent_s=90.0), rollout(*members(1000), per_minute=6.0), 0.0)
    assert 9_990 <= seen.finish_s - 15 <= 9_990 * 1.02


def test_a_stored_plan_without_variants_is_shown_without_them() -> None:
    old = replace(rollout(*members(2)), forms=())
    assert preview(World(silent_s=90.0), old, 0.0).variants == {}


def test_power_is_computed_for_the_first_wave_at_the_rate_of_its_devices() -> None:
    made = World(silent_s=90.0)
    interval = ModelInterval(model="m", version=V1, inferences=20, errors=0)
    other = replace(interval, model="n", inferences=999)
    for name, wave_rate in (("a0", 1), ("b0", 50)):
        said = Telemetry(
            protocol=1,
            device=name,
            boot=1,
            seq=1,
            interval_s=10.0,
            intervals=(replace(interval, inferences=20 * wave_rate), other),
        )
        made.measured.traffic[name] = Traffic(said, 0.0)
    rule = Rule(metric="error_ratio", threshold=0.1)
    seen = preview(made, rollout(*members(2, 3), rules=(rule,)), 0.0)
    one = replace(assumed("error_ratio"), per_hour=3600.0 * 2.0 / 2)
    assert seen.power == (f"error_ratio: {power_of(rule, 2, 3, 15.0, shown=one)}",)
    silent = preview(World(silent_s=90.0), rollout(*members(2), rules=(rule,)), 0.0)
    assert silent.power == (f"error_ratio: {power_of(rule, 2, 0, 15.0, shown=assumed('error_ratio'))}",)


def test_a_device_of_the_first_wave_without_inferences_is_named_before_the_start() -> None:
    made, shown = World(silent_s=90.0), rollout(*members(3, 1))
    asked = ModelInterval(model="m", version=V1, inferences=3, errors=0)
    sensor = SensorState(name="serial-1", kind="serial", model="m", state="running")
    for name, intervals in (("a0", (asked,)), ("a1", (replace(asked, model="n"),)), ("a2", ()), ("b0", ())):
        made.durable.twins[name] = Twin(name, connected=True, seen_at=0.0, sensors=(sensor,) if name == "a2" else ())
        made.measured.traffic[name] = Traffic(Telemetry(1, name, 1, 1, 60.0, intervals), 0.0)
    assert preview(made, shown, 0.0).warnings == (
        "nobody asks a1 of the first wave for m now, and no sensor feeds it: "
        "a trial needs 30 inferences before it can pass",
    )
    del made.measured.traffic["b0"]
    assert quiet_of(made, shown, wave=1) == {"a1": 60.0, "b0": 0.0}, "b0 has come and told nothing of the model yet"


def test_devices_without_a_proven_way_back_are_named_for_every_wave_before_the_start() -> None:
    stable = ModelState(model="m", phase="steady", generation=1, stable=V1)
    twins = {
        name: Twin(name, reported={"m": replace(stable, stable_proven=name == "a1")}, connected=True, seen_at=0.0)
        for name in ("a0", "a1", "b0")
    }
    named = tuple(replace(each, previous_release=1) for each in members(2, 1))
    seen = preview(World(silent_s=90.0, durable=Durable(twins=twins)), rollout(*named), 0.0)
    assert seen.unproven == ("a0", "b0")
    assert [(wave.wave, wave.devices) for wave in seen.waves] == [(0, 2), (1, 1)]


def test_old_field_names_are_replaced_in_trial_policies_and_rules_only() -> None:
    old = {"share": "1", "windows": [], "window": 9, "window_s": 5.0, "soak_s": "1"}
    new = {"traffic_share": "1", "maintenance": [], "judged_inferences": 9, "judged_s": 5.0, "soak_s": "1"}
    assert in_words_of_now({"policy": old, "selector": {"window": "north", "share": "a"}}) == {
        "policy": new,
        "selector": {"window": "north", "share": "a"},
    }
    assert in_words_of_now({"strategy": {"trial": old, "rules": [old, old]}}) == {
        "strategy": {"trial": new, "rules": [new, new]}
    }
    assert in_words_of_now([{"policy": old}, 7, "window"]) == [{"policy": new}, 7, "window"]
    assert in_words_of_now({"policy": None}) == {"policy": None}


def planned(world: World, strategy: Strategy, **changes: Any) -> Rollout:
    running = {1: make_model(1, "good").manifest}
    inputs = replace(running[1].inputs[0], datatype="INT64")
    manifest = replace(make_model(2, "good").manifest, inputs=(inputs,))
    return plan_rollout(
        world, manifest, strategy, name="r", model="m", selector={}, now=0.0, running=running, **changes
    )  # fmt: skip


def test_a_plan_keeps_its_schedule_and_refuses_another_interface_unless_it_may_change() -> None:
    stable = ModelState(model="m", phase="steady", generation=1, stable=V1)
    made = World(silent_s=90.0, durable=Durable(twins={"a": Twin("a", reported={"m": stable})}))
    strategy = Strategy(name="s", waves=(Wave(percent=100),))
    with pytest.raises(BadInput) as refused:
        planned(made, strategy)
    assert refused.value.code == Code.SIGNATURE_CHANGED
    at_night = Schedule(hours=("22:00-04:00",))
    may = replace(strategy, trial=TrialPolicy(signature="may_change"))
    assert planned(made, may, schedule=at_night).schedule == at_night


def test_a_rule_about_a_relative_change_needs_a_mean_above_zero() -> None:
    rule = Rule(metric="metric_increase", name="kg", threshold=0.1, min_samples=1)
    made, shown = World(silent_s=90.0), rollout(*members(2, 3), rules=(rule,))
    below = Sums(60, metrics={"kg": MetricSums(count=60, sum=-120.0, squared_sum=250.0)})
    made.past = lambda _model, _since: [(each.device, 1, 0.0, below) for each in shown.members]
    with pytest.raises(BadInput, match=r"the mean of kg is not above 0 here: set change = \"absolute\""):
        refuse_powerless(made, shown, 120.0)
