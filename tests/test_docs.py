"""Documents that repeat the code are held to it."""

import importlib.util
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from agent.core.commands import Command
from agent.core.events import Event
from agent.core.model import State
from agent.serving.metrics import FAMILIES
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.protocol import VERSION
from controller.rollout.model import Rule, Strategy, Wave

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("contract", "agent", "controller", "edgeward", "firmware_sim")
    for path in (ROOT / folder).rglob("*.py")
]


def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: dict[str, Callable[[], str]] = generate().PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_from_the_code_is_what_the_code_says(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name](), "run: python docs/generate.py"


def test_the_page_of_the_update_machine_names_every_state_event_and_command() -> None:
    page = (ROOT / "docs" / "reference" / "update-machine.md").read_text()
    for kind in (*get_args(State), *get_args(Event), *get_args(Command)):
        assert kind.__name__ in page, kind


def test_the_reference_of_metrics_is_the_metrics() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = [f"| `{name}` | {kind} | {words} |" for name, (kind, words) in FAMILIES.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_the_version_of_the_code_is_the_distributions() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.mark.parametrize("code", list(Code), ids=str)
def test_every_code_is_used(code: Code) -> None:
    uses = sum(f"Code.{code.name}" in path.read_text() for path in SOURCES)
    assert uses >= 1, f"{code} is never raised: delete it"


def test_no_file_is_longer_than_400_lines() -> None:
    assert [str(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_every_file_says_what_it_is_for() -> None:
    silent = [path for path in SOURCES if not path.read_text().startswith(('"""', 'r"""'))]
    assert silent == []


def test_links_between_documents_lead_somewhere() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_promises_of_a_rollout_name_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "rollouts.md").read_text()
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 50
    assert [name for name in named if f"def {name}(" not in written] == []
    assert {f"{number}." for number in range(1, 13)} <= set(re.findall(r"^\| (\d+\.)", page, re.MULTILINE))


def test_every_key_of_a_strategy_names_the_test_that_fails_when_it_is_ignored() -> None:
    page = (ROOT / "docs" / "reference" / "rollouts.md").read_text()
    keys = {
        *Strategy.__struct_fields__,
        *(f"waves.{field}" for field in Wave.__struct_fields__),
        *(f"rules.{field}" for field in Rule.__struct_fields__),
        *(f"trial.{field}" for field in TrialPolicy.__struct_fields__),
    }
    assert set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == keys
