"""The reports of every version's drift, word by word and number by number, against a reviewed copy."""

import json
from typing import Any

import pytest

from controller.drift.breaches import interval
from tests.controller.drift_cases import GOLDEN, said

KNOWN: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FOUND = said()


def test_every_case_is_known() -> None:
    assert set(KNOWN) == set(FOUND), "python -m tests.controller.drift_cases"


@pytest.mark.parametrize("case", KNOWN)
def test_the_report_on_a_version_equals_the_reviewed_copy(case: str) -> None:
    assert FOUND[case] == KNOWN[case]


def test_the_limit_of_the_past_is_at_most_one() -> None:
    limits = [each["moved"]["limit"] for name, found in FOUND.items() if name != "since" for each in found["moved"]]
    assert max(limit for limit in limits if limit is not None) == 1.0


def test_more_breaches_than_cells_are_shown_as_all_cells() -> None:
    assert interval(3, 2) == interval(2, 2) == (pytest.approx(2 / (2 + 2.576**2)), 1.0)
