"""Keys of trials are independent of each other, and rows that a shadow repeats are not every n-th."""

from itertools import pairwise

import pytest

from agent.serving.split import Split, hashed

KEYS = [f"customer-{number}" for number in range(4000)]


@pytest.mark.no_cover  # many times the lines that the next test measures
@pytest.mark.parametrize("pairs", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_two_trials_with_a_fifth_each_have_a_fifth_of_their_keys_in_common(pairs: int) -> None:
    """Pairs of trials, each with the next one."""
    chosen = [{key for key in KEYS if Split(0.2, f"{number:064x}").has(key)} for number in range(pairs + 1)]
    overlaps = [len(one & other) / len(one) for one, other in pairwise(chosen)]
    within = [overlap for overlap in overlaps if abs(overlap - 0.2) <= 0.06]
    assert len(within) == len(overlaps) == pairs, "5 standard deviations of 0.014, either way"
    assert abs(sum(overlaps) / pairs - 0.2) < (0.003 if pairs == 1000 else 0.008)
    assert sum(abs(overlap - 0.2) <= 0.03 for overlap in overlaps) > 0.92 * pairs


def test_a_fraction_selects_that_fraction_of_the_keys() -> None:
    sizes = [
        len([key for key in KEYS if Split(fraction, "ab" * 32).has(key)]) / 4000 for fraction in (0.0, 0.2, 0.5, 1.0)
    ]
    assert sizes[0] == 0.0
    assert sizes[3] == 1.0
    assert abs(sizes[1] - 0.2) < 0.03
    assert abs(sizes[2] - 0.5) < 0.03


def test_consecutive_numbers_have_independent_hashes() -> None:
    """If sensors send in turn, every n-th row would always be of the same sensor."""
    taken = [hashed(b"%d" % number, "trial") < 0.25 for number in range(8000)]
    by_turn = [sum(taken[turn::4]) / 2000 for turn in range(4)]
    assert all(abs(fraction - 0.25) < 0.05 for fraction in by_turn)
