"""The verdicts of every gate on every case, word by word and number by number, against a reviewed copy."""

import json
from typing import Any

import numpy as np
import pytest

from controller.gates import slices
from controller.gates.judge import judge_all
from tests.controller.gate_cases import GOLDEN, LABELS, SLICES, cases, held, said

KNOWN: dict[str, list[dict[str, Any]]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FOUND = said()


def test_every_case_is_known() -> None:
    assert set(KNOWN) == set(cases()), "python -m tests.controller.gate_cases"


@pytest.mark.parametrize("case", KNOWN)
def test_the_verdict_of_the_gates_on_a_case_equals_the_reviewed_copy(case: str) -> None:
    assert FOUND[case] == KNOWN[case]


def test_no_passed_gate_has_a_remedy() -> None:
    every = [verdict for verdicts in FOUND.values() for verdict in verdicts]
    assert {verdict["remedy"] for verdict in every if verdict["passed"]} == {""}
    assert all(verdict["remedy"] for verdict in every if not verdict["passed"] and verdict["gate"] != "parity")


def test_the_first_of_very_many_slices_are_judged_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MAX_SLICES", 3)
    groups = {f"group {number}": np.where(LABELS == 1, "x", "y") for number in range(4)}
    verdict = judge_all(SLICES, held(0, groups=groups))[-1]
    assert verdict.detail == "0 of 3 slices fail; 5 are too small to judge"
