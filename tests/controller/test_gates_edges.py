"""The gates at their limits."""

import pytest

from controller.gates.parity import MAX_BOUNDARY_ROWS_BEYOND, Compared
from controller.gates.parity import MAX_ROWS_BEYOND as PARITY_ROWS_BEYOND
from controller.gates.variant import ATOL, MAX_ROWS_BEYOND, RTOL, Shrunk, judge_variant


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
