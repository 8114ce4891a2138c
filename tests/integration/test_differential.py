"""The same scenario in the simulator and on real processes with a real broker: devices tell the same story."""

import difflib
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeward.demo.processes import Site, wait_for
from firmware_sim.device import MODEL
from firmware_sim.real_models import onnx_bytes
from firmware_sim.runs import run_once
from firmware_sim.scenario import Scenario, load_scenario

pytestmark = pytest.mark.broker

SMALL = Path(__file__).parents[2] / "configs" / "scenarios" / "small.toml"
Story = list[tuple[Any, ...]]


def told(states: list[dict[str, Any]]) -> Story:
    """What a device says of itself, without digests, generations and repetitions."""
    words = []
    for state in states:
        outcome = state.get("outcome") or {}
        stable, trial = state.get("stable") or {}, state.get("trial") or {}
        ended = (outcome.get("result"), outcome.get("code"), (outcome.get("version") or {}).get("release"))
        words.append((state["phase"], stable.get("release"), trial.get("release"), *ended))
    return [word for word, _ in itertools.groupby(words)]


def simulated(scenario: Scenario) -> dict[str, Story]:
    result, world = run_once(scenario, 1)
    assert result.violation == ""
    return {name: told(world.controller.states[name]) for name in world.devices}


def real(scenario: Scenario, directory: Path) -> dict[str, Story]:
    import msgspec

    site = Site(directory, rate_hz=1 / scenario.sample_every_s)
    rows = directory / "rows.csv"
    directory.mkdir(exist_ok=True)
    rows.write_text("x0,rain\n" + "1.0,1\n" * 50)
    try:
        client = site.start_controller()
        for number in range(1, scenario.devices + 1):
            agent = site.prepare_agent(number)
            config = directory / agent.name / "agent.toml"
            text = config.read_text().replace('model = "weather"', f'model = "{MODEL}"')
            lines = [
                f'path = "{rows}"'
                if line.startswith("path")
                else "start_row = 0"
                if line.startswith("start_row")
                else line
                for line in text.splitlines()
            ]
            config.write_text("\n".join(lines))
            agent.start()
        wait_for("all devices", lambda: len(client.devices()) == scenario.devices or None)
        for number, release in enumerate(scenario.release, start=1):
            client.push(onnx_bytes(number, release.behaviour), name=MODEL, sample=np.zeros((8, 1), dtype=np.float32))
            strategy = msgspec.to_builtins(scenario.strategy)
            assert client.rollout(MODEL, release=number, strategy=strategy).wait(timeout_s=60).status == release.expect
            time.sleep(3)
        return {
            device.device: told([entry["report"]["state"] for entry in client.device(device.device).plain["history"]])
            for device in client.devices()
        }
    finally:
        site.stop()


@pytest.mark.timeout(240)
def test_real_processes_tell_the_story_that_the_simulator_tells(tmp_path: Path) -> None:
    scenario = load_scenario(SMALL)
    stories = {tuple(story) for story in simulated(scenario).values()}
    real_stories = {tuple(story) for story in real(scenario, tmp_path / "site").values()}
    (story,) = stories
    told_otherwise = [other for other in real_stories if other != story]
    for other in told_otherwise:
        print("the simulator tells, and a real device tells:")
        print("\n".join(difflib.unified_diff([*map(str, story)], [*map(str, other)], lineterm="", n=1)))
    assert not told_otherwise
