"""docs/reference/serving.md: every row names tests that exist, and every interface is tested with bad data."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "serving.md"
ROWS = 54
DOORS = 3
WITHOUT = 5
"""Cells of doors that cannot meet a case: an array has no client that leaves, and a row of a sensor one shape."""


def rows() -> list[list[str]]:
    """Cells of each row, without heads of tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| what")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_row_of_the_serving_table_names_tests_that_exist() -> None:
    assert len(rows()) >= ROWS
    for row in rows():
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", " ".join(row))
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_bad_data_is_tested_at_every_interface() -> None:
    at_doors = [row[1:] for row in rows() if len(row) == 1 + DOORS]
    empty = sum(not cell for row in at_doors for cell in row)
    assert len(at_doors) > 20
    assert empty <= WITHOUT
