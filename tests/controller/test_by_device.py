"""Effects by device against the same formulas written out device by device, in plain Python."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.sequential import VARIATION
from controller.rollout.by_device import (
    PRIOR_DEGREES,
    Assumed,
    Effect,
    Group,
    Sample,
    combined,
    could_be_chance,
    differences,
    level,
    movement,
    paired,
    relative_noise,
    surest,
)

ASSUMED = Assumed(levels=0.05, differences=0.02)
NEVER = math.inf

Row = tuple[int, float, bool, float, float, float]
"""Device, start, whether it is the release's, total, value, square."""


def sample(rows: list[Row], first: list[float], *, relative: bool = False, stratum: list[int] | None = None) -> Sample:
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return Sample(
        device=columns[0].astype(np.int64),
        stratum=np.array(stratum or [0] * len(first), dtype=np.int64),
        start=columns[1],
        treated=columns[2] > 0,
        total=columns[3],
        value=columns[4],
        square=columns[5],
        first=np.array(first),
        relative=relative,
    )


def noise_of_hits(total: float, hits: float) -> float:
    smooth = (hits + 1) / (total + 2)
    return smooth * (1 - smooth) / max(total, 1)


def noise_of_errors(total: float, value: float, square: float) -> float:
    mean = value / total
    measured = max(0.0, square - total * mean**2) / max(total - 1, 1)
    return max(measured / mean**2, VARIATION) / total


def mean_of(values: list[float], variances: list[float]) -> tuple[float, float]:
    weights = [1 / each for each in variances]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights), 1 / sum(weights)


def excess_of(sides: list[tuple[list[float], list[float]]], degrees: int) -> float:
    squares = sum(sum((v - sum(values) / len(values)) ** 2 for v in values) for values, _ in sides if values)
    expected = sum(sum(noise) / len(noise) * (len(noise) - 1) for _, noise in sides if len(noise) > 1)
    return max(0.0, (squares - expected + PRIOR_DEGREES * ASSUMED.differences**2) / (degrees + PRIOR_DEGREES))


def test_a_pair_is_the_weighted_difference_of_each_minute_on_each_device() -> None:
    rows: list[Row] = [
        (0, 60.0, True, 10, 3, 3), (0, 60.0, False, 30, 4, 4), (0, 120.0, True, 1, 1, 1), (0, 120.0, False, 1, 0, 0),
        (1, 60.0, True, 20, 5, 5), (1, 60.0, False, 20, 3, 3), (1, 180.0, True, 50, 9, 9),
    ]  # fmt: skip
    found = paired(sample(rows, [0.0, 0.0]), ASSUMED)
    assert found is not None
    weights = [10 * 30 / 40, 1 * 1 / 2]
    first = (weights[0] * (3 / 10 - 4 / 30) + weights[1] * (1 / 1 - 0 / 1)) / sum(weights)
    second = 5 / 20 - 3 / 20
    noise_first = (
        weights[0] ** 2 * (noise_of_hits(10, 3) + noise_of_hits(30, 4))
        + weights[1] ** 2 * (noise_of_hits(1, 1) + noise_of_hits(1, 0))
    ) / sum(weights) ** 2
    noise = [noise_first, noise_of_hits(20, 5) + noise_of_hits(20, 3)]
    excess = excess_of([([first, second], noise)], 1)
    value, variance = mean_of([first, second], [each + excess for each in noise])
    assert (found.value, found.variance) == pytest.approx((value, variance))
    assert found.moved == pytest.approx([first, second])
    assert (found.degrees, found.paired) == (1 + PRIOR_DEGREES, True)
    assert (found.samples, found.samples_beside) == (10 + 1 + 20, 30 + 1 + 20), "the minute without a pair is left out"


def test_a_pair_may_have_one_inference_on_each_side() -> None:
    rows: list[Row] = [(0, 0.0, True, 1, 1, 1), (0, 0.0, False, 1, 0, 0)]
    found = paired(sample(rows, [-1.0]), ASSUMED)
    assert found is not None
    assert (found.value, found.devices, found.samples_beside) == (1.0, 1, 1)


def test_pairs_of_errors_are_logarithms_of_ratios_with_the_noise_of_both_sides() -> None:
    rows: list[Row] = [
        (0, 0.0, True, 8, 16.0, 40.0), (0, 0.0, False, 8, 8.0, 30.0),
        (1, 0.0, True, 4, 6.0, 30.0), (1, 0.0, False, 12, 24.0, 60.0),
    ]  # fmt: skip
    found = paired(sample(rows, [-1.0, -1.0], relative=True), ASSUMED)
    assert found is not None
    moved, noise = [], []
    for ours, theirs in pairwise_rows(rows):
        means = ours[1] / ours[0], theirs[1] / theirs[0]
        moved.append(math.log(means[0]) - math.log(means[1]))
        both = noise_of_errors(*ours) * means[0] ** 2 + noise_of_errors(*theirs) * means[1] ** 2
        noise.append(both / min(means) ** 2)
    excess = excess_of([(moved, noise)], 1)
    value, variance = mean_of(moved, [each + excess for each in noise])
    assert found.moved == pytest.approx(moved)
    assert (found.value, found.variance) == pytest.approx((value, variance))


def pairwise_rows(rows: list[Row]) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    return [(ours[3:], theirs[3:]) for ours, theirs in list(pairwise(rows))[::2]]


@given(st.lists(st.floats(0.1, 9.0), min_size=2, max_size=20))
def test_the_noise_of_errors_is_their_relative_variance_by_their_number(errors: list[float]) -> None:
    total, value, square = len(errors), sum(errors), sum(each**2 for each in errors)
    found = relative_noise(*(np.array([each], dtype=float) for each in (total, value, square)))
    assert found[0] == pytest.approx(noise_of_errors(total, value, square), rel=1e-6)


def test_each_device_is_compared_with_its_own_past_and_with_the_others() -> None:
    """Twenty devices with the release are always better than the twenty others, as their past shows."""
    rows: list[Row] = []
    for device in range(40):
        base = 100 + 10 * (device % 20) + (0 if device < 20 else 50)
        for minute in range(20):
            after, treated = minute >= 10, minute >= 10 and device < 20
            wrong = base + (60 if treated else 0) - (20 if after else 0)
            rows.append((device, 60.0 * minute, treated, 1000, wrong, wrong))
    found = differences(sample(rows, [600.0] * 20 + [NEVER] * 20), ASSUMED)
    assert found is not None
    assert found.value == pytest.approx(0.06, abs=0.01)
    assert (found.devices, found.devices_beside, found.paired) == (20, 20, False)
    assert (found.samples, found.samples_beside) == (20 * 10 * 1000, 20 * 10 * 1000)
    assert found.degrees == 38 + PRIOR_DEGREES


def test_errors_are_compared_with_the_past_as_ratios() -> None:
    rows: list[Row] = []
    for device, base in ((0, 4.0), (1, 1.0), (2, 2.0), (3, 0.5)):
        for minute in range(50):
            treated = minute >= 25 and device < 2
            mean = base * (1.3 if treated else 1.0) * (1.1 if minute >= 25 else 1.0)
            rows.append((device, 60.0 * minute, treated, 1000, 1000 * mean, 2000 * mean**2))
    first = [60.0 * 25, 60.0 * 25, NEVER, NEVER]
    found = differences(sample(rows, first, relative=True), Assumed(levels=1.0, differences=0.02))
    assert found is not None
    assert found.value == pytest.approx(math.log(1.3), abs=0.01)


def test_without_devices_beside_it_there_is_no_difference() -> None:
    rows: list[Row] = [(0, 0.0, False, 10, 1, 1), (0, 60.0, True, 10, 1, 1)]
    assert differences(sample(rows, [60.0]), ASSUMED) is None
    assert differences(sample(rows[:1], [NEVER]), ASSUMED) is None
    other_kind: list[Row] = [*rows, (1, 60.0, False, 10, 1, 1)]
    assert differences(sample(other_kind, [60.0, NEVER], stratum=[0, 1]), ASSUMED) is None


def group(after: list[float], noise: float = 1e-4) -> Group:
    size = len(after)
    none = np.zeros(size)
    return Group(np.array(after), none + noise, none, none + math.inf, none + 100.0)


def test_one_side_alone_is_the_weighted_mean_of_its_devices() -> None:
    found = level(group([0.1, 0.3, 0.2]), ASSUMED)
    excess = excess_of([([0.1, 0.3, 0.2], [1e-4] * 3)], 2)
    assert found.value == pytest.approx(0.2)
    assert found.variance == pytest.approx((1e-4 + excess) / 3)
    assert found.spread == pytest.approx(math.sqrt(excess))
    assert (found.degrees, found.devices, found.devices_beside) == (2 + PRIOR_DEGREES, 3, 0)
    assert level(group([0.1, 0.3]), ASSUMED, samples_beside=7).devices_beside == 2


def test_both_sides_are_given_by_their_means_and_the_spread_of_both() -> None:
    found = combined(group([0.3, 0.5]), group([0.1, 0.1, 0.4]), ASSUMED)
    excess = excess_of([([0.3, 0.5], [1e-4] * 2), ([0.1, 0.1, 0.4], [1e-4] * 3)], 3)
    assert found.value == pytest.approx(0.4 - 0.2)
    assert found.variance == pytest.approx((1e-4 + excess) / 2 + (1e-4 + excess) / 3)
    assert found.degrees == 3 + PRIOR_DEGREES


def effect(value: float, variance: float, degrees: float) -> Effect:
    none = np.zeros(0)
    return Effect(
        value, variance, degrees, none, none, spread=0.0, devices=1, devices_beside=1, samples=1, samples_beside=1
    )


def test_the_most_precise_estimate_has_the_shortest_interval_with_its_degrees_of_freedom() -> None:
    assert surest(None, None) is None
    few, many = effect(1.0, 1.0, 2.0), effect(2.0, 1.9, 1000.0)
    assert surest(few, many) is many, "1.0 * (1 + 2 / 2) is more than 1.9 * (1 + 2 / 1000)"
    assert surest(few, effect(4.0, 2.2, 1000.0)) is few, "and less than 2.2 * (1 + 2 / 1000)"


def test_the_movement_of_devices_without_a_release_is_their_spread_since_a_moment() -> None:
    rows: list[Row] = []
    for device, step in ((0, 0.0), (1, 0.1), (2, -0.1)):
        for minute in range(40):
            hits = 1000 * (0.5 + (step if minute >= 20 else 0.0))
            rows.append((device, 60.0 * minute, False, 1000, hits, hits))
    spread, devices = movement(sample(rows, [NEVER] * 3), 60.0 * 20, ASSUMED)
    assert devices == 3
    assert spread == pytest.approx(
        math.sqrt((0.02 + PRIOR_DEGREES * ASSUMED.differences**2) / (2 + PRIOR_DEGREES)), rel=0.05
    )
    assert movement(sample(rows[:40], [NEVER]), 60.0 * 20, ASSUMED) == (ASSUMED.differences, 0)


def test_a_device_with_little_data_is_not_drawn_at_random() -> None:
    """It got the release minutes after the others, so its placebo covers only these minutes."""
    quiet, noisy = 0.008**2, 0.09**2

    def group(after: list[float], noise: list[float]) -> Group:
        count = len(after)
        return Group(np.array(after), np.array(noise), np.zeros(count), np.full(count, math.inf), np.ones(count))

    drawn = np.random.default_rng(1).normal(0.0, 0.008, 95)
    late = group([*drawn, 0.163], [*[quiet] * 95, noisy])
    found = combined(group([0.059, 0.034, 0.055, 0.040, 0.045], [quiet] * 5), late, ASSUMED)
    assert len(found.placebo) == 95
    assert not could_be_chance(found, 0.01, 0.01)
    unlike = combined(group([0.059, 0.034, 0.055, 0.040, 0.045], [noisy] * 5), late, ASSUMED)
    assert len(unlike.placebo) == 96, "if all devices have as little data, all are drawn"
