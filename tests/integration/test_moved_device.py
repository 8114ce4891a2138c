"""A device is moved from one controller to another: real processes, the real commands, and the model serves on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeward.demo.models import train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker
EDGEWARD = Path(sys.executable).with_name("edgeward")
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "0.5", "min_samples": 3}}


def run(program: str, *arguments: object, site: Site | None = None) -> str:
    environment = {**os.environ, "COLUMNS": "200"} | ({"EDGEWARD_DATA_DIR": str(site.data_dir)} if site else {})
    command = [str(EDGEWARD.with_name(program)), *(str(each) for each in arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_a_moved_device_keeps_its_serving_model_under_the_new_controller(tmp_path: Path) -> None:
    old, new = Site(tmp_path / "old", rate_hz=5.0), Site(tmp_path / "new")
    try:
        mine, theirs = old.start_controller(), new.start_controller()
        agent = old.start_agent(1)
        wait_for("the device", lambda: mine.devices() or None, agent)
        model, sample = train_first()
        digest = mine.push(model, name="weather", sample=sample).digest
        assert mine.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"

        run("edgeward", "device", "adopt", "device-1", "--out", tmp_path / "claims", site=new)
        agent.stop()
        config = tmp_path / "old" / "device-1" / "agent.toml"
        run("edgeward-agent", "adopt", tmp_path / "claims" / "device-1.claim.json", "-c", config)
        agent.start()
        told = lambda: [each for each in theirs.devices() if each.models] or None  # noqa: E731 - its presence comes first
        moved = wait_for("the device at its new controller", told, agent)[0]
        assert [(each.model, each.state.serving) for each in moved.models if each.state] == [("weather", digest)]
        assert moved.models[0].desired_release is None, "and it gets no other version without a rollout"
        assert moved.labels == {"site": "north"}

        assert "retired; 1 certificate was revoked" in run("edgeward", "device", "retire", "device-1", site=old)
        assert list(mine.devices()) == []
        assert "device-1" in run("edgeward", "device", "retired", site=old)
        theirs.push(model, name="weather", sample=sample)
        assert theirs.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
        history = theirs.device("device-1").history
        assert [entry.report.refusal for entry in history if entry.report.refusal is not None] == []
    finally:
        old.stop()
        new.stop()
