"""The gates at their limits."""

from typing import Any

import numpy as np
import pytest

from contract.tensors import Array
from controller.gates.champion import judge_champion
from controller.gates.estimate import estimate, estimate_by_blocks
from controller.gates.evidence import ChampionRule, HeldOut
from controller.gates.parity import MAX_BOUNDARY_ROWS_BEYOND, Compared
from controller.gates.parity import MAX_ROWS_BEYOND as PARITY_ROWS_BEYOND
from controller.gates.variant import ATOL, MAX_ROWS_BEYOND, RTOL, Shrunk, judge_variant
from controller.gates.verdict import GateVerdict


def shrunk(rows: int, differing: int, note: str = "") -> Shrunk:
    compared = Compared(rows=rows, differing=differing, max_abs_difference=0.125)
    return Shrunk(name="int8", size_bytes=10, compared=compared, note=note)


@pytest.mark.parametrize(
    ("rows", "differing", "passes"),
    [(100, 0, True), (100, 1, True), (1000, 10, True), (1000, 11, False), (1, 0, True), (0, 0, False)],
)
def test_one_row_in_a_hundred_may_differ_in_a_smaller_variant(rows: int, differing: int, passes: bool) -> None:
    assert judge_variant(shrunk(rows, differing)).passed is passes


def test_a_variant_that_could_not_be_made_fails_with_the_reason() -> None:
    verdict = judge_variant(shrunk(100, 0, "no quantizer for trees"))
    assert (verdict.gate, verdict.passed, verdict.detail) == ("variant int8", False, "no quantizer for trees")


def test_the_verdict_on_a_variant_has_its_numbers() -> None:
    detail = judge_variant(shrunk(1000, 11)).detail
    assert "11 of 1000" in detail
    assert "0.12" in detail


def test_zero_rows_have_no_share_of_differences() -> None:
    assert Compared(rows=0, differing=0, max_abs_difference=0.0).ratio_beyond == 0.0
    assert Compared(rows=8, differing=2, max_abs_difference=0.0).ratio_beyond == 0.25


def test_the_limits_equal_the_measured_ones() -> None:
    assert (PARITY_ROWS_BEYOND, MAX_BOUNDARY_ROWS_BEYOND) == (0.001, 0.01)
    assert (MAX_ROWS_BEYOND, RTOL, ATOL) == (0.01, 0.02, 0.02)


# The champion of a retrained version.

GOOD, BAD = np.repeat([1, 0], 20), np.repeat([0, 1], 20)


def held_out(answers: Array = GOOD, **changes: Any) -> HeldOut:
    known: dict[str, Any] = {"champion": BAD, "champion_name": "v1", "times": np.arange(40.0)}
    return HeldOut("classification", GOOD, answers, **{**known, **changes})


def champion(newest: HeldOut | None, fixed: HeldOut | None = None) -> GateVerdict:
    return judge_champion(ChampionRule(), newest, fixed, "")


def test_a_gain_over_the_champion_is_told_with_the_number_of_rows() -> None:
    found = champion(held_out())
    assert (found.passed, found.evidence["gain"], found.evidence["rows"]) == (True, 1.0, 40.0)
    assert "v1 is beaten" in found.detail


def test_rows_without_times_or_without_the_champions_answers_show_no_gain() -> None:
    missing = "no held-out rows with times came with the candidate"
    assert [champion(each).detail for each in (None, held_out(times=None))] == [missing, missing]
    found = champion(held_out(champion=None))
    assert (found.passed, found.detail) == (False, "the champion does not answer the held-out rows")


def test_the_fixed_rows_are_compared_with_the_champion_too() -> None:
    found = champion(held_out(), held_out(answers=BAD, champion=GOOD))
    assert (found.passed, found.evidence["never_forget_gain"]) == (False, -1.0)
    assert "it forgets: " in found.detail
    found = champion(held_out(), held_out(champion=None))
    assert found.detail.startswith("the champion does not answer the rows that it must never forget")


def test_equal_blocks_leave_the_variance_of_independent_rows() -> None:
    gains = np.array([0.0, 2.0] * 8)
    found = estimate_by_blocks(gains, np.arange(16.0), blocks=4, confidence=0.8)
    assert found == estimate(1.0, (16 / 15) / 16, 3, 0.8), "every block has the same mean"
