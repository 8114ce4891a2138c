"""The rules of the controller's rooms hold: an import that breaks one, planted in a copy, fails `lint-imports`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("agent", "contract", "controller", "edgeward", "firmware_sim")
LINT = Path(sys.executable).with_name("lint-imports")

PLANTS = {
    "os in rollout": ("controller/rollout/decide.py", "import os", "Pure rooms"),
    "the service in a verb": (
        "controller/verbs/push.py",
        "from controller.service import Service",
        "The controller's rooms",
    ),
    "a new file with a clock in fleet": ("controller/fleet/planted.py", "from time import monotonic", "Pure rooms"),
    "a new file with a clock in reconcile": ("controller/reconcile/planted.py", "import time", "Pure rooms"),
    "a new file beside the rooms": ("controller/planted.py", "", "The controller's rooms"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their contracts, in their own directory."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(directory: Path) -> list[str]:
    done = subprocess.run([LINT, "--no-cache"], cwd=directory, capture_output=True, text=True, timeout=60)
    words = " ".join(done.stdout.split())
    assert "Contracts: " in words, done.stdout + done.stderr
    broken = [name for name in ("Pure rooms", "The controller's rooms") if _verdict(words, name) == "BROKEN"]
    assert (done.returncode != 0) == bool(broken), done.stdout
    return broken


def _verdict(words: str, contract: str) -> str:
    """Returns KEPT or BROKEN: the first of both after the contract's name."""
    behind = words.partition(contract)[2]
    return min(("KEPT", "BROKEN"), key=lambda verdict: behind.find(verdict) % (len(behind) + 1))


def test_only_verbs_write_to_the_audit() -> None:
    files = (ROOT / "controller").rglob("*.py")
    writes = re.compile(r"journal\.audit(_all)?\(")
    writers = {file.relative_to(ROOT / "controller").parts[0] for file in files if writes.search(file.read_text())}
    assert writers == {"verbs"}


def test_without_a_planted_import_every_contract_is_kept(copy: Path) -> None:
    assert broken_contracts(copy) == []


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_import_breaks_the_contract_of_its_room(copy: Path, plant: str) -> None:
    path, line, contract = PLANTS[plant]
    file = copy / path
    file.write_text(f"{line}\n{file.read_text() if file.exists() else ''}")
    assert broken_contracts(copy) == [contract]
