"""What sensors show of the true signal, and what happens to models that crash the process or use up its memory."""

import itertools
import statistics
from pathlib import Path
from random import Random

import msgspec
import pytest

from firmware_sim.runs import run_once
from firmware_sim.scenario import load_scenario
from firmware_sim.sensors import Signal, SimSensor

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "sick_sensors.toml"
ROWS = 2_000


def shown(signal: Signal, *, faulty: bool = True, offset_h: float = 0.0) -> list[float | None]:
    """One row a minute."""
    sensor = SimSensor(signal, Random(3), offset_h)
    found = (sensor.row(60.0 * number, faulty=faulty) for number in range(ROWS))
    return [None if row is None else float(row.values["x"]) for row in found]


def test_a_plain_signal_is_its_level_and_its_label_is_the_true_value() -> None:
    assert set(shown(Signal())) == {1.0}
    below = SimSensor(Signal(level=-2.0), Random(1)).row(0.0, faulty=True)
    assert below is not None
    assert (below.values["x"], below.label) == (-2.0, 0)


def test_noise_spreads_around_the_level() -> None:
    values = [value for value in shown(Signal(noise=0.5)) if value is not None]
    assert abs(statistics.mean(values) - 1.0) < 0.05
    assert abs(statistics.stdev(values) - 0.5) < 0.05


def test_drift_grows_with_time_and_does_not_change_the_label() -> None:
    sensor = SimSensor(Signal(drift_per_h=-0.5), Random(1))
    late = sensor.row(4 * 3600.0, faulty=True)
    assert late is not None
    assert (late.values["x"], late.label) == (-1.0, 1)


def test_spikes_dropouts_and_stuck_values_have_their_configured_frequency() -> None:
    spikes = shown(Signal(spike=0.1))
    assert 0.07 < sum(value != 1.0 for value in spikes) / ROWS < 0.13
    assert 0.17 < sum(value is None for value in shown(Signal(dropout=0.2))) / ROWS < 0.23
    stuck = shown(Signal(noise=1.0, stuck=0.01, stuck_rows=20))
    repeated = sum(after == before for before, after in itertools.pairwise(stuck))
    assert 100 < repeated < 700


def test_a_season_is_periodic_and_a_time_zone_shifts_it() -> None:
    season = Signal(level=0.0, season=2.0, season_h=24.0)
    here, there = shown(season), shown(season, offset_h=6.0)
    assert max(value for value in here if value is not None) > 1.9
    assert here[6 * 60 : 12 * 60] == pytest.approx(there[: 6 * 60])


def test_a_repaired_sensor_shows_the_true_value() -> None:
    sick = Signal(noise=1.0, dropout=0.5, drift_per_h=3.0, spike=0.5)
    assert set(shown(sick, faulty=False)) == {1.0}


def test_models_that_end_the_process_restart_the_agent_without_a_power_cut_and_are_rolled_back() -> None:
    scenario = load_scenario(SCENARIO)
    result, world = run_once(scenario, 2)
    assert result.violation == ""
    assert result.cuts == 0
    codes = [device.record.outcome.code for device in world.devices.values() if device.record.outcome]
    rebooted = [device for device in world.devices.values() if device.boots > 1]
    assert rebooted, codes
    ended = {rollout.id: rollout.reason for _, rollout in world.controller.history}
    assert "failed_ratio" in ended["r-2"]
    assert "failed_ratio" in ended["r-3"]
    states = [state for told in world.controller.states.values() for state in told]
    outcomes = {(state["outcome"] or {}).get("code") for state in states}
    assert "boot_budget_spent" in outcomes


def test_a_good_model_on_faulty_sensors_is_less_accurate_and_still_confirmed() -> None:
    scenario = load_scenario(SCENARIO)
    noisy = msgspec.structs.replace(scenario, release=scenario.release[:1])
    result, world = run_once(noisy, 1)
    assert result.violation == ""
    sums = [total for (_, _, release), total in world.controller.world.measured.totals.items() if release == 1]
    correct, labelled = sum(total.correct for total in sums), sum(total.labelled for total in sums)
    assert 0.5 < correct / labelled < 0.99
