"""Documents that repeat the code must equal it."""

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
from controller.api.metrics import FAMILIES as OF_THE_CONTROLLER
from controller.rollout.model import Rule, Strategy, Wave

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("confinement", "contract", "agent", "controller", "edgeward", "firmware_sim")
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
def test_a_generated_page_equals_the_output_of_its_generator(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name](), "run: python docs/generate.py"


def test_the_page_of_the_update_machine_names_every_state_event_and_command() -> None:
    page = (ROOT / "docs" / "reference" / "update-machine.md").read_text()
    for kind in (*get_args(State), *get_args(Event), *get_args(Command)):
        assert kind.__name__ in page, kind


def test_the_reference_of_metrics_lists_the_metrics_of_the_code() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    families = {**FAMILIES, **OF_THE_CONTROLLER}
    rows = [f"| `{name}` | {kind} | {words} |" for name, (kind, words) in families.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_the_version_in_the_code_equals_that_of_the_distribution() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.mark.parametrize("code", list(Code), ids=str)
def test_every_code_is_used(code: Code) -> None:
    uses = sum(f"Code.{code.name}" in path.read_text() for path in SOURCES)
    assert uses >= 1, f"{code} is never raised: delete it"


def test_no_file_is_longer_than_400_lines() -> None:
    assert [str(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_every_file_describes_its_purpose() -> None:
    silent = [path for path in SOURCES if not path.read_text().startswith(('"""', 'r"""'))]
    assert silent == []


def test_links_between_documents_have_targets() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_each_decision_has_a_number_of_its_own_and_the_same_in_its_heading() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [page.name.partition("-")[0] for page in pages]
    assert len(set(numbers)) == len(numbers)
    assert [page.read_text().partition(".")[0] for page in pages] == [f"# {int(number)}" for number in numbers]


def test_the_tests_named_by_the_promises_of_a_rollout_exist() -> None:
    page = (ROOT / "docs" / "reference" / "rollouts.md").read_text()
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 50
    assert [name for name in named if f"def {name}(" not in written] == []
    assert {f"{number}." for number in range(1, 13)} <= set(re.findall(r"^\| (\d+\.)", page, re.MULTILINE))


def test_every_key_of_a_strategy_names_the_test_that_fails_if_it_is_ignored() -> None:
    page = (ROOT / "docs" / "reference" / "rollouts.md").read_text()
    keys = {
        *Strategy.__struct_fields__,
        *(f"waves.{field}" for field in Wave.__struct_fields__),
        *(f"rules.{field}" for field in Rule.__struct_fields__),
        *(f"trial.{field}" for field in TrialPolicy.__struct_fields__),
    }
    assert set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == keys


PROSE = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for folder in ("concepts", "guides", "reference") for page in (ROOT / "docs" / folder).glob("*.md")),
]
MAX_COLUMNS = 100
MAX_WORDS = 28
"""The most words of a sentence: the style asks for 12 to 20, and a list of three things needs a few more."""


def prose_lines(text: str) -> list[tuple[int, str]]:
    """Lines of a page by number, without code blocks, tables and headings."""
    found, in_code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        in_code ^= line.startswith("```")
        found.append((number, "" if in_code or line.startswith(("|", "#", "```")) else line))
    return found


def sentences(text: str) -> list[str]:
    """Sentences of a page; a name in backticks counts as one word, a link as its text."""
    lines = [("\n" if re.match(r"\s*([-*]|\d+\.)\s", line) else "") + line for _, line in prose_lines(text)]
    found = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "x", " ".join(paragraph.split())))
        found += re.split(r"(?<=[.!?:])\s+(?=[A-Z0-9x*(])", plain)
    return found


def long_lines(text: str) -> list[int]:
    """Returns the numbers of lines of prose that are too long and could be wrapped: more than one word and a link."""
    return [number for number, line in prose_lines(text) if len(re.sub(r"\]\([^)]*\)", "]", line)) > MAX_COLUMNS]


def long_sentences(text: str) -> list[str]:
    return [each for each in sentences(text) if len(re.findall(r"[\w'%-]+", each)) > MAX_WORDS]


def test_lines_of_pages_are_wrapped() -> None:
    pages = [*PROSE, ROOT / "CHANGELOG.md", *(ROOT / "docs" / "adr").glob("*.md")]
    assert {str(page): found for page in pages if (found := long_lines(page.read_text()))} == {}


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.stem)
def test_sentences_of_pages_are_short(page: Path) -> None:
    assert long_sentences(page.read_text()) == []


def test_a_long_line_and_a_long_sentence_are_found_in_prose_only() -> None:
    words = "word " * 30
    assert long_lines(f"```\n{words}\n```\n| {words} |\n{words}") == [5]
    assert long_sentences(f"Short one. {words}ends.\n\n- {words}too.") != []
    assert (
        long_sentences(f"| {words} |\n```\n{words}\n```\n" + "Ten words are not too many for one sentence here. " * 4)
        == []
    )


def test_the_duration_of_the_demo_is_the_same_everywhere() -> None:
    says = (ROOT / "edgeward" / "demo" / "command.py").read_text()
    seconds = re.findall(r"in (\d+) seconds", says)
    assert len(seconds) == 1
    for page in ("README.md", "Makefile"):
        assert set(re.findall(r"(\d+)\s+seconds", (ROOT / page).read_text())) == set(seconds), page


def test_every_file_that_contributing_and_the_readme_name_exists() -> None:
    for page in ("CONTRIBUTING.md", "README.md"):
        targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
        assert len(targets) > 20
        assert [target for target in targets if not (ROOT / target).exists()] == []
