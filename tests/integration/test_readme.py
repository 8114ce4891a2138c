"""Every command of the README is run unchanged and in its order."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from controller.broker.process import find_mosquitto
from edgeward.demo.processes import Process, wait_for

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
TOOLS = {"edgeward-controller", "edgeward", "edgeward-agent", "edgeward-sim", "python"}
SERVERS = ("edgeward-controller run", "edgeward-agent run")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.timeout(400)
def test_the_readme_commands_run_in_five_minutes(tmp_path: Path) -> None:
    for folder in ("examples",):
        (tmp_path / folder).symlink_to(ROOT / folder)
    tools = Path(sys.executable).parent
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    running: list[Process] = []
    ran: set[str] = set()
    os.chdir(tmp_path)
    try:
        for command in COMMANDS:
            if command.startswith(("make ", "export ")):
                continue
            ran.add(command.split(maxsplit=1)[0])
            if command.startswith(SERVERS):
                running.append(start(command, tmp_path, environment))
            else:
                done = subprocess.run(
                    shlex.split(command), env=environment, cwd=tmp_path, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert ran == TOOLS
        enrolled = (tmp_path / "pi-1" / "device.pem").exists()
        assert enrolled == (find_mosquitto() is not None), "a started Mosquitto has asked for a certificate"
        assert not (tmp_path / "pi-1" / "claim.json").exists()
        notebook(tmp_path)
    finally:
        os.chdir(ROOT)
        for process in reversed(running):
            process.stop()


def start(command: str, home: Path, environment: dict[str, str]) -> Process:
    # The README's controller takes its default ports; a test machine may have them in use.
    free = " --port 0 --broker-port 0" if command.startswith("edgeward-controller") else ""
    words = ["env", *(f"{key}={value}" for key, value in environment.items()), *shlex.split(command + free)]
    process = Process(command, words, home / f"{command.split(maxsplit=1)[0]}.log")
    process.start()

    def ready() -> bool:
        text = process.log.read_text()
        return "API at" in text or "is up" in text

    wait_for(command, lambda: ready() or None, process)
    return process


def notebook(home: Path) -> None:
    import runpy

    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    names = runpy.run_path(str(ROOT / "examples" / "train.py"))
    os.environ["EDGEWARD_DATA_DIR"] = str(home / ".edgeward")
    try:
        exec(block.group(1), names)
        assert "pi-1" in {device.device for device in names["client"].devices()}
        assert [version.release for version in names["client"].versions("iris")] == [1], "the same bytes"
    finally:
        del os.environ["EDGEWARD_DATA_DIR"]


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert named == {"demo", "test", "check", "bench"}
    assert named <= make_targets()


def test_every_link_of_the_readme_has_a_target() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
