"""The wheel with [agent] alone, in a clean environment: no server packages are installed, and an update works."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgeward.demo.models import train_first
from edgeward.demo.processes import Process, Site, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.broker]

ROOT = Path(__file__).parents[2]
SERVER_STACK = ("scikit-learn", "skl2onnx", "aiohttp", "tinydb", "onnx", "pandas", "skops", "iotcore", "click", "rich")


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_the_agents_wheel_contains_no_server_and_runs_an_update(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    carried = set(zipfile.ZipFile(wheel).namelist())
    assert {"firmware_sim/scenarios/calm.toml", "edgeward/demo/weather.csv.gz"} <= carried
    assert not any(name.startswith(("tests", "benchmarks")) for name in carried)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [
        str(venv / "bin" / "pip"),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "requirements" / "dev.txt"),
    ]
    subprocess.run([*pip, f"{wheel}[agent]"], check=True, capture_output=True)

    listed = subprocess.run(
        [str(venv / "bin" / "pip"), "list", "--format", "json"], check=True, capture_output=True
    ).stdout
    installed = {package["name"].lower() for package in json.loads(listed)}
    assert installed.isdisjoint(SERVER_STACK)
    assert {"edgeward", "onnxruntime", "paho-mqtt", "tuf"} <= installed
    for package in ("sklearn", "skl2onnx", "aiohttp", "tinydb"):
        assert (
            subprocess.run(
                [str(venv / "bin" / "python"), "-c", f"import {package}"], capture_output=True, check=False
            ).returncode
            != 0
        )

    site = Site(tmp_path / "site")
    try:
        client = site.start_controller()
        agent = site.prepare_agent(1)
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        command = [str(venv / "bin" / "edgeward-agent"), *agent.command[1:]]
        alone = Process(
            "alone",
            ["env", "-i", *(f"{key}={value}" for key, value in clean.items()), *command],
            tmp_path / "alone.log",
        )
        alone.start()
        site.agents["device-1"] = alone
        wait_for("the device", lambda: bool(client.devices()), alone)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        strategy = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}
        assert client.rollout("weather", strategy=strategy).wait(timeout_s=60).status == "completed"
        doctor = subprocess.run([command[0], "doctor", "--json", *command[2:]], capture_output=True)
        assert {found["check"]: found["ok"] for found in json.loads(doctor.stdout)}["packages"]
    finally:
        site.stop()
