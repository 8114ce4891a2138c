"""Documents that repeat the code are held to it."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from agent.serving.metrics import FAMILIES
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.protocol import VERSION
from controller.rollout.model import Rule, Strategy, Wave

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("confinement", "contract", "agent", "controller", "edgeward", "firmware_sim")
    for path in (ROOT / folder).rglob("*.py")
]


def codes_table() -> str:
    """The reference of codes, made from the comments beside them."""
    text = (ROOT / "contract" / "errors.py").read_text()
    rows = [
        "# Error codes",
        "",
        "Made from `contract/errors.py`; `tests/test_docs.py` holds it equal.",
        "",
        "| code | what to do |",
        "|---|---|",
    ]
    for code in Code:
        line = next(line for line in text.splitlines() if f'= "{code}"' in line)
        rows.append(f"| `{code}` | {line.partition('#')[2].strip()} |")
    return "\n".join(rows) + "\n"


def test_the_reference_of_codes_is_the_codes() -> None:
    assert (ROOT / "docs" / "reference" / "codes.md").read_text() == codes_table()


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


def test_the_schema_for_editors_is_the_strategy() -> None:
    shipped = (ROOT / "configs" / "rollouts" / "strategy.schema.json").read_text()
    assert shipped == strategy_schema()


def strategy_schema() -> str:
    """What an editor needs to complete and check a strategy."""
    found = msgspec.json.schema(Strategy)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"
