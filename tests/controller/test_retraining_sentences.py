"""The retraining policy's decisions and sentences on every case, against a reviewed copy."""

import json
from typing import Any

import pytest

from tests.controller.retraining_cases import GOLDEN, said

KNOWN: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FOUND = said()


def test_every_case_is_known() -> None:
    assert set(KNOWN) == set(FOUND), "python -m tests.controller.retraining_cases"


@pytest.mark.parametrize("case", KNOWN)
def test_the_decision_and_sentences_on_a_case_equal_the_reviewed_copy(case: str) -> None:
    assert FOUND[case] == KNOWN[case]


def test_enough_labels_without_a_past_are_not_reported_as_too_few() -> None:
    (_, said_why, *_) = FOUND["decides: no reference"]["says"]
    assert said_why == (
        "No training was started: no labels tell how good v3 was when it came: there is nothing to compare with."
    )
