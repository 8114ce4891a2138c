"""The second demo with real processes: the fleet recovers automatically, and its champion's run is reproduced."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.broker]


@pytest.mark.timeout(600)
def test_the_fleet_recovers_automatically_and_the_champion_is_reproduced(tmp_path: Path) -> None:
    edgeward = str(Path(sys.executable).with_name("edgeward"))
    kept, png = tmp_path / "kept", tmp_path / "loop.png"
    demo = [edgeward, "demo", "loop", "--json", "--keep", str(kept), "--png", str(png)]
    told = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    figures = json.loads(told.stdout)["figures"]
    assert figures["hands"] == 0
    assert figures["worst"] < figures["before"] - 0.2
    assert figures["after"] > figures["worst"] + 0.2
    again = [edgeward, "run", "reproduce", "newest", "--recorded-rows", "--dir", str(kept / "runs")]
    said = subprocess.run(again, cwd=kept, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "same digest" in said.stdout
