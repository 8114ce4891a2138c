"""The same scenario in the simulator and on real processes with a real broker: devices report the same events."""

import difflib
import itertools
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.core.events import HealthJudged
from agent.core.model import Verdict
from agent.models.device_model import DeviceModel
from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for
from firmware_sim.device import MODEL
from firmware_sim.real_models import onnx_bytes
from firmware_sim.runs import run_once
from firmware_sim.scenario import Scenario, load_scenario

pytestmark = pytest.mark.broker

SMALL = Path(__file__).parents[2] / "configs" / "scenarios" / "small.toml"
Story = list[tuple[Any, ...]]


def told(states: list[dict[str, Any]]) -> Story:
    """The reports of a device, without digests, generations and repetitions."""
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
            sample = np.zeros((8, 1), dtype=np.float32)
            model = onnx_bytes(number, release.behaviour)
            client.push(model, name=MODEL, sample=sample, waive_rows="a model of one answer")
            strategy = msgspec.to_builtins(scenario.strategy)
            ended = client.rollout(MODEL, release=number, strategy=strategy).wait(timeout_s=300)
            assert ended.status == release.expect
            wait_for(f"the last word on release {number}", partial(all_have_ended, client, number))
        return {device: told(states) for device, states in all_states(client).items()}
    finally:
        site.stop()


def all_states(client: Client) -> dict[str, list[dict[str, Any]]]:
    """Returns the reports of each device about its model, in order."""
    names = [device.device for device in client.devices()]
    return {name: [entry["report"]["state"] for entry in client.device(name).plain["history"]] for name in names}


def all_have_ended(client: Client, release: int) -> bool:
    newest = [states[-1] if states else {} for states in all_states(client).values()]
    return all(
        state.get("phase") == "steady" and (state["outcome"] or {})["version"]["release"] == release for state in newest
    )


LATE_LOOKS = 20
"""A trial of five seconds: the controller hears of the other devices and rolls a release back in that time."""


def test_a_late_verdict_of_a_device_gives_the_same_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device rolled back before its verdict would report that: the controller waits for all verdicts."""
    original = DeviceModel.judge
    late: list[DeviceModel] = []
    failures: Counter[str] = Counter()

    def judge(self: DeviceModel) -> HealthJudged | None:
        found = original(self)
        late.extend([self] if not late else [])
        if self is not late[0] or found is None or found.verdict is not Verdict.FAIL:
            return found
        failures[found.digest] += 1
        return found if failures[found.digest] > LATE_LOOKS else None

    monkeypatch.setattr(DeviceModel, "judge", judge)
    assert len({tuple(story) for story in simulated(load_scenario(SMALL)).values()}) == 1
    assert len(failures) == 2, "both bad releases were judged late"


@pytest.mark.timeout(900)  # 25 s on an idle machine
def test_real_processes_give_the_same_events_as_the_simulator(tmp_path: Path) -> None:
    scenario = load_scenario(SMALL)
    stories = {tuple(story) for story in simulated(scenario).values()}
    real_stories = {tuple(story) for story in real(scenario, tmp_path / "site").values()}
    (story,) = stories
    told_otherwise = [other for other in real_stories if other != story]
    for other in told_otherwise:
        print("the simulator reports, and a real device reports:")
        print("\n".join(difflib.unified_diff([*map(str, story)], [*map(str, other)], lineterm="", n=1)))
    assert not told_otherwise
