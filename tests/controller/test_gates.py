import pytest

from controller.gates.parity import MAX_BOUNDARY_ROWS_BEYOND, MAX_ROWS_BEYOND, Compared, Parity, judge_parity


def parity(sample: tuple[int, int], boundary: tuple[int, int] = (100, 0)) -> Parity:
    made = [Compared(rows=rows, differing=differing, max_abs_difference=0.25) for rows, differing in (sample, boundary)]
    return Parity(reference="scikit-learn", precision="float32", sample=made[0], boundary=made[1])


@pytest.mark.parametrize(
    ("sample", "boundary", "passes"),
    [
        ((1000, 0), (100, 0), True),
        ((1000, 1), (100, 1), True),
        ((1000, 2), (100, 0), False),
        ((1000, 0), (100, 2), False),
        ((0, 0), (0, 0), False),
        ((10, 0), (0, 0), True),
    ],
    ids=["equal", "at the limits", "sample beyond", "boundary beyond", "no rows", "no boundary rows"],
)
def test_parity_is_judged_by_shares_of_rows(sample: tuple[int, int], boundary: tuple[int, int], passes: bool) -> None:
    assert judge_parity(parity(sample, boundary)).passed is passes


def test_the_verdict_carries_its_numbers() -> None:
    verdict = judge_parity(parity((1000, 2)))
    assert "2 of 1000 sample rows" in verdict.detail
    assert "0.25" in verdict.detail
    assert 0 < MAX_ROWS_BEYOND < MAX_BOUNDARY_ROWS_BEYOND
