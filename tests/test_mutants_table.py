"""The tables of `make mutants` name existing files, tests and lines."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "tools" / "mutants"
ROOMS: dict[str, dict[str, list[str]]] = tomllib.loads((TABLES / "rooms.toml").read_text())["rooms"]
EQUIVALENT: list[dict[str, Any]] = tomllib.loads((TABLES / "equivalent.toml").read_text()).get("mutant", [])


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_code_and_tests(room: str) -> None:
    paths, tests = (
        ROOMS[room]["paths"],
        [test.removeprefix("--deselect=").partition("::")[0] for test in ROOMS[room]["tests"]],
    )
    assert paths
    assert tests
    assert [name for name in [*paths, *tests] if not (ROOT / name).exists()] == []


def test_every_equivalent_mutant_names_existing_lines_and_a_reason() -> None:
    for row in EQUIVALENT:
        assert set(row) == {"file", "operator", "before", "after", "reason"}
        lines = [line.strip() for line in (ROOT / row["file"]).read_text().splitlines()]
        wanted = [line.strip() for line in row["before"].strip().splitlines()]
        assert any(lines[at : at + len(wanted)] == wanted for at in range(len(lines))), row["before"]
        assert row["before"] != row["after"]
        assert len(row["reason"].split()) > 4
