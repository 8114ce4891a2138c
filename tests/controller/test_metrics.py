"""The controller's `/metrics`: counts of the fleet with the same number of series for any size of fleet."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.messages import Heartbeat, ModelState, SensorState
from controller.api.metrics import exposition
from controller.config import Config, StorageConfig
from controller.reconcile.fold import fold
from controller.state import State, open_state
from controller.verbs.health import facts_of
from tests.controller.reconcile_worlds import HARDWARE, V1, campaign

PHASES = ("steady", "fetching", "trial")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def hear(state: State, first: int, last: int) -> None:
    """Devices of all kinds, each with an invented fault, sensor state and label."""
    for number in range(first, last):
        reported = ModelState(model=f"m{number}", phase=PHASES[number % 3], generation=1, stable=V1)  # type: ignore[arg-type]
        message = Heartbeat(
            protocol=1, device=f"d{number}", boot=1, seq=1, uptime_s=1, hardware=HARDWARE, models=(reported,),
            labels={f"k{number}": "v"}, faults={f"invented_{number}": "x", "disk_full": "x"},
            sensors=(SensorState(name=f"s{number}", kind="topic", model="m", state=f"state{number}"),),
        )  # fmt: skip
        fold(state.world, f"d{number}", message, 1e9)
        state.world.durable.rollouts[f"r{number}"] = campaign(f"d{number}", id=f"r{number}", status="paused")


def series(state: State) -> dict[str, float]:
    lines = exposition(state, facts_of(state)).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_fleet_of_1000_has_as_many_series_as_one_of_10_and_its_counts_are_right(state: State) -> None:
    hear(state, 0, 10)
    small = series(state)
    hear(state, 10, 1000)
    large = series(state)
    assert list(large) == list(small)
    assert not re.search(r"d1|m1|r1|invented|state1", " ".join(large))
    prefix = "edgeward_controller_"
    assert sum(value for name, value in large.items() if name.startswith(f"{prefix}devices{{")) == 1000
    assert large[f'{prefix}device_models{{phase="fetching"}}'] == 333
    assert large[f'{prefix}device_faults{{code="disk_full"}}'] == 1000
    assert large[f'{prefix}device_faults{{code="other"}}'] == 1000
    assert large[f'{prefix}rollouts{{status="paused"}}'] == 1000
    assert large[f'{prefix}rollouts{{status="running"}}'] == 0


def test_passes_are_counted_with_their_time_and_their_failures(state: State) -> None:
    state.passes.passed(5.0, 0.25)
    state.passes.passed(6.0, 0.5)
    state.passes.failed(7.0, "disk_full")
    found = series(state)
    assert found["edgeward_controller_pass_seconds_sum"] == 0.75
    assert found["edgeward_controller_pass_seconds_count"] == 2
    assert found["edgeward_controller_pass_failures_total"] == 1
