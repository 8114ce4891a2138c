"""Every row of docs/reference/attacks.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "reference" / "attacks.md"
ROWS = 63


def test_every_row_of_the_attack_table_names_tests_that_exist() -> None:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(lines) >= ROWS
    for line in lines:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", line)
        assert named, line
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"
