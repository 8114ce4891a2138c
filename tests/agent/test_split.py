"""Keys of trials are independent of each other, and rows that a shadow repeats are not every n-th."""

from itertools import pairwise

from agent.serving.split import Split, hashed

KEYS = [f"customer-{number}" for number in range(4000)]


def test_two_trials_of_a_fifth_each_share_a_fifth_of_their_keys() -> None:
    """1,000 pairs of 1,001 trials, each with the next one."""
    chosen = [{key for key in KEYS if Split(0.2, f"{number:064x}").has(key)} for number in range(1001)]
    overlaps = [len(one & other) / len(one) for one, other in pairwise(chosen)]
    within = [overlap for overlap in overlaps if abs(overlap - 0.2) <= 0.06]
    assert len(within) == len(overlaps) == 1000, "5 standard deviations of 0.014, either way"
    assert abs(sum(overlaps) / 1000 - 0.2) < 0.003
    assert sum(abs(overlap - 0.2) <= 0.03 for overlap in overlaps) > 950


def test_a_share_takes_that_share_of_the_keys() -> None:
    sizes = [
        len([key for key in KEYS if Split(traffic_share, "ab" * 32).has(key)]) / 4000
        for traffic_share in (0.0, 0.2, 0.5, 1.0)
    ]
    assert sizes[0] == 0.0
    assert sizes[3] == 1.0
    assert abs(sizes[1] - 0.2) < 0.03
    assert abs(sizes[2] - 0.5) < 0.03


def test_numbers_in_a_row_have_independent_hashes() -> None:
    """Every n-th row of sensors that take turns would be one sensor's alone."""
    taken = [hashed(b"%d" % number, "trial") < 0.25 for number in range(8000)]
    by_turn = [sum(taken[turn::4]) / 2000 for turn in range(4)]
    assert all(abs(traffic_share - 0.25) < 0.05 for traffic_share in by_turn)
