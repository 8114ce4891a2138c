"""The decisions and sentences about every rollout at one moment, word by word, against a reviewed copy."""

import json
from typing import Any

import pytest

from tests.controller.story_cases import GOLDEN, said

KNOWN: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FOUND = said()


def test_every_case_is_known() -> None:
    assert set(KNOWN) == set(FOUND), "python -m tests.controller.story_cases"


@pytest.mark.parametrize("case", KNOWN)
def test_the_decision_and_story_of_a_rollout_equal_the_reviewed_copy(case: str) -> None:
    assert FOUND[case] == KNOWN[case]


def test_a_failure_without_a_code_is_listed_once() -> None:
    assert "d3 failed: undecided after 200 s, in phase steady." in FOUND["past its deadline"]["says"]
    assert "d3 silent: it was told, and nothing was heard of it in time." in FOUND["past its start"]["says"]
