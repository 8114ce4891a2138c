"""The verdicts of every rule on every case, word by word and number by number, against a reviewed copy."""

import json
from typing import Any

import pytest

from tests.controller.rule_cases import GOLDEN, said

KNOWN: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FOUND = said()


def test_every_case_is_known() -> None:
    assert set(KNOWN) == set(FOUND), "python -m tests.controller.rule_cases"


@pytest.mark.parametrize("case", KNOWN)
def test_the_verdict_of_the_rules_on_a_case_equals_the_reviewed_copy(case: str) -> None:
    assert FOUND[case] == KNOWN[case]
