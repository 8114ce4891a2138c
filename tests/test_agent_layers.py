"""The agent's layers hold, and each rule fails when it is broken: violations are planted in a copy of the packages."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

ROOT = Path(__file__).parents[1]
PACKAGES = ("agent", "contract")
RULES = ("agent_rooms", "agent_adapters", "agent_pure")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages and the agent's rules, of which the project's own file is the source."""
    place = tmp_path_factory.mktemp("layers")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    linter["root_packages"] = list(PACKAGES)
    linter["contracts"] = [rule for rule in linter["contracts"] if rule.get("id") in RULES]
    assert len(linter["contracts"]) == len(RULES)
    (place / "pyproject.toml").write_text(tomli_w.dumps({"tool": {"importlinter": linter}}), encoding="utf-8")
    assert lint(place) == []
    return place


def lint(place: Path) -> list[str]:
    """Rules that are broken there, by id."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo"]
    wide = {**os.environ, "PYTHONPATH": str(place), "COLUMNS": "400"}
    said = subprocess.run(command, cwd=place, env=wide, capture_output=True, text=True).stdout
    assert f"Contracts: {len(RULES)} kept" in said or "broken" in said, said
    rules = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    return [rule["id"] for rule in rules if f"{rule['name']} BROKEN" in said]


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("agent/core/machine.py", "import os", {"agent_adapters", "agent_pure"}),
        ("agent/core/planted.py", "import time", {"agent_adapters", "agent_pure"}),
        ("agent/flash/planted.py", "from time import monotonic", {"agent_adapters", "agent_pure"}),
        ("agent/serving/planted.py", "import time", {"agent_adapters", "agent_pure"}),
        ("agent/uplink/planted.py", "import threading", {"agent_adapters"}),
        ("agent/assembly.py", "from agent.adapters.posix_disk import PosixDisk", {"agent_rooms"}),
        ("agent/agent.py", "from agent.assembly import Assembly", {"agent_rooms"}),
        ("agent/planted.py", "import json", {"agent_rooms"}),
        ("agent/core/machine.py", "from agent.config import load_config", {"agent_pure", "agent_rooms"}),
    ],
)
def test_a_planted_violation_breaks_its_rule(copy: Path, file: str, line: str, broken: set[str]) -> None:
    path = copy / file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
        assert set(lint(copy)) == broken
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before, encoding="utf-8")
