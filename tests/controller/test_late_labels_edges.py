"""Edges of judging by labels that come late."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.captured import CapturedRow
from controller.rollout.late import STRETCH_S, judge_late
from controller.rollout.model import Rule
from controller.rollout.verdict import RuleVerdict
from tests.controller.rollout_worlds import STRATEGY, rollout


def kept(device: str, release: int, right: int, wrong: int, at: float = 0.0, **changes: Any) -> list[Any]:
    row = CapturedRow(at=at, model="m", release=release, why="sampled", inputs={}, value="1", label="1")
    return [(device, replace(row, **changes))] * right + [(device, replace(row, label="0", **changes))] * wrong


LATE = replace(
    STRATEGY,
    rules=(Rule(metric="accuracy_drop", threshold=0.02, min_samples=100, judged_s=1.0), *STRATEGY.rules),
)


def late(*rows: Any, **changes: Any) -> RuleVerdict:
    ended = rollout(LATE, status="completed", wave=1, evidence_since=1e9, **changes)
    (found,) = judge_late(ended, [row for group in rows for row in group])
    return found


def test_late_labels_are_compared_within_the_same_hour_for_any_window_of_the_rule() -> None:
    found = late(kept("d0", 2, 50, 150), kept("d1", 1, 180, 20))
    assert (found.word, found.metric) == ("fail", "accuracy_drop")
    assert "(200 against 200 labelled)" in found.detail
    assert found.detail.startswith("costs 65.0 points of accuracy [")
    assert late(kept("d0", 2, 50, 150), kept("d1", 1, 180, 20, at=STRETCH_S)).word == "inconclusive"
    assert late(kept("d0", 2, 50, 150), kept("d1", 1, 180, 20, at=STRETCH_S - 1)).word == "fail"


def test_late_labels_of_a_regression_are_judged_by_the_size_of_errors_and_empty_ones_are_ignored() -> None:
    def numbers(device: str, release: int, error: float, label: Any = 5.0) -> list[tuple[str, CapturedRow]]:
        row = CapturedRow(at=10.0, model="m", release=release, why="sampled", inputs={}, value=5.0, label=label)
        return [(device, replace(row, value=5.0 + error * (-1) ** number)) for number in range(120)]

    rule = Rule(metric="error_increase", threshold=0.1, min_samples=100)
    ended = rollout(replace(STRATEGY, rules=(rule,)), status="completed", wave=1)
    (bad,) = judge_late(ended, [*numbers("d0", 2, 50.0), *numbers("d1", 1, 1.0)])
    assert (bad.metric, bad.word) == ("error_increase", "fail")
    (good,) = judge_late(ended, [*numbers("d0", 2, 1.0), *numbers("d1", 1, 1.0)])
    assert good.word == "pass"
    (none,) = judge_late(ended, [*numbers("d0", 2, 50.0, ""), *numbers("d1", 1, 1.0)])
    assert none.word == "inconclusive"


def test_late_labels_count_each_row_once() -> None:
    assert STRETCH_S == 3600.0
    assert late(kept("d0", 2, 99, 0), kept("d1", 1, 100, 0)).word == "inconclusive"
    assert late(kept("d0", 2, 100, 0), kept("d1", 1, 100, 0)).word == "pass"
    many = [kept("d0", 2, 50, 150), kept("d1", 1, 180, 20)]
    again = late(*many, kept("d0", 2, 50, 150, at=2 * STRETCH_S), kept("d1", 1, 180, 20, at=2 * STRETCH_S))
    assert "(400 against 400 labelled)" in again.detail


@pytest.mark.parametrize("changes", [{"why": "hard"}, {"value": None}])
def test_late_rows_without_information_are_left_out(changes: dict[str, Any]) -> None:
    assert late(kept("d0", 2, 0, 200, **changes), kept("d1", 1, 200, 0)).word == "inconclusive"
    unlabelled = [(device, replace(row, label=None)) for device, row in kept("d0", 2, 0, 200)]
    assert late(unlabelled, kept("d1", 1, 200, 0)).word == "inconclusive"
    assert late(kept("stranger", 2, 0, 200), kept("d1", 1, 200, 0)).word == "inconclusive"
