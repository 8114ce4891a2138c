"""What has moved: compared with the past's own movements, ranked, in sentences, and between trial and control."""

import numpy as np
import pytest

from contract.distributions import Reference
from controller.drift.between import between, same_hours
from controller.drift.blocks import MAX_BLOCKS, block_of, blocks_of
from controller.drift.distance import MIN_PAST, MIN_ROWS, moved
from controller.drift.shape import MAX_LABELS, Shape
from controller.drift.what_moved import bin_words, devices_moved, ranked, sentence
from tests.controller.drift_worlds import EDGES, NOW, WEEK_S, binned, device_weeks, past_rows


def reference(counts: dict[str, tuple[int, ...]] | None = None, **features: np.ndarray) -> Reference:
    return Reference(features=features, output=None, feature_counts=counts or {}, output_counts=())


def weeks_of(seed: int, shift: float = 0.0, persistence: float = 0.9) -> np.ndarray:
    return np.array(device_weeks(seed, 20, shift, persistence), dtype=np.float64)


@pytest.mark.parametrize("persistence", [0.9, 0.99])
def test_a_sensor_that_depends_on_the_hour_before_is_marked_in_hardly_any_quiet_week(persistence: float) -> None:
    found = [moved(weeks_of(seed, persistence=persistence)) for seed in range(60)]
    assert all(one is not None for one in found)
    assert sum(one is not None and one.is_beyond for one in found) <= 2


def test_a_sensor_that_moved_by_two_deviations_is_marked() -> None:
    found = [moved(weeks_of(seed, shift=2.0)) for seed in range(20)]
    assert sum(one is not None and one.is_beyond for one in found) >= 18


def test_correlated_rows_count_as_fewer_rows() -> None:
    found = moved(weeks_of(1))
    assert found is not None
    assert found.rows == 168
    assert found.rows_effective < 80


def test_a_past_without_movement_still_allows_movement_by_chance() -> None:
    still = np.tile([[0.0, 100.0, 100.0]], (10, 1))
    still[0] = [0.0, 106.0, 94.0]
    found = moved(still)
    assert found is not None
    assert (found.usual, found.is_beyond) == (0.0, False)


def test_without_enough_past_there_is_a_distance_and_no_limit() -> None:
    found = moved(weeks_of(1)[: MIN_PAST + 1])
    assert found is not None
    assert found.distance > 0
    assert found.limit is None
    assert not found.is_beyond
    assert moved(weeks_of(1)[:1]) is None
    few = weeks_of(1)
    few[0] = 0
    few[0, 3] = MIN_ROWS - 1
    assert moved(few) is None


def test_a_block_begins_at_the_same_hour_of_the_week() -> None:
    day = 86_400.0
    assert [block_of(NOW - at, NOW, day) for at in (60.0, day, 1.5 * day, WEEK_S + 60, WEEK_S + day)] == [
        0,
        0,
        None,
        1,
        1,
    ]
    assert block_of(NOW, NOW, day) is None, "the hour that has just begun is not over"
    assert block_of(NOW - MAX_BLOCKS * WEEK_S - 60, NOW, day) is None
    assert [block_of(NOW - weeks * WEEK_S, NOW, 14 * day) for weeks in (1, 2, 3)] == [0, 0, 1]


def test_a_device_that_joined_this_week_does_not_move_the_fleet() -> None:
    rows = past_rows(3, 12)
    newcomer = ("new", 1, NOW - 60.0, Shape(features={"x": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5000)}))
    assert (
        blocks_of([*rows, newcomer], NOW, WEEK_S, 1).counts("x").tolist()
        == blocks_of(rows, NOW, WEEK_S, 1).counts("x").tolist()
    )


def test_answers_of_another_release_are_not_part_of_the_past_and_its_inputs_are() -> None:
    other = [(device, 1, start, Shape(features=shape.features, outputs=(9,) * 5, predictions={"a": 9}))
             for device, _, start, shape in past_rows(2, 8)]  # fmt: skip
    mine = [("d0", 2, NOW - 60.0, Shape(features={"x": binned(np.zeros(100))}, outputs=(1, 2), predictions={"b": 3}))]
    blocks = blocks_of([*other, *mine], NOW, WEEK_S, 2, frozenset({1}))
    assert blocks.counts("")[1:].sum() == 0
    assert blocks.counts("x")[1].sum() > 0
    assert blocks_of([*other, *mine], NOW, WEEK_S, 2).devices == 0, "other bins: nothing to compare with"


def test_the_largest_movement_is_first_and_its_sentence_names_it_and_the_past() -> None:
    rows = past_rows(4, 15, shift=2.5)
    still = {"still": (0, 50, 50)}
    rows = [
        (device, release, start, Shape(features=still | dict(shape.features))) for device, release, start, shape in rows
    ]
    blocks = blocks_of(rows, NOW, WEEK_S, 1)
    found = ranked(blocks, reference(x=EDGES, still=np.array([0.0])), classifies=True)
    assert [each.what for each in found] == ["x", "still"]
    words = sentence(found, blocks, "week")
    assert "x moved most" in words
    assert "Its own weeks moved by" in words
    assert "1 of 2 moved further" in words
    assert "can't be told yet: that takes five weeks" in sentence(
        ranked(blocks_of(past_rows(4, 3), NOW, WEEK_S, 1), reference(x=EDGES), classifies=True), blocks, "week"
    )
    assert "Nothing can be told yet" in sentence([], blocks_of([], NOW, WEEK_S, 1), "week")


def test_the_device_that_moved_most_is_named_first() -> None:
    rows = past_rows(4, 6)
    rows += [("d9", 1, start, Shape(features={"x": binned(np.full(168, at == 0) * 9.0)}))
             for at, start in ((0, NOW - 60.0), (1, NOW - WEEK_S - 60.0))]  # fmt: skip
    blocks = blocks_of(rows, NOW, WEEK_S, 1)
    assert devices_moved(blocks)[0].device == "d9"
    assert [each.device for each in devices_moved(blocks, dict.fromkeys(["d0", "d1", "d2", "d3"], "arm"))] == [
        "",
        "arm",
    ]


def test_each_bin_is_told_with_its_rows_now_before_and_in_the_sample_of_the_model() -> None:
    blocks = blocks_of(past_rows(4, 6), NOW, WEEK_S, 1)
    sample = (0, *[20] * (len(EDGES) + 1))
    (found,) = ranked(blocks, reference({"x": sample}, x=EDGES), classifies=True)
    assert [each.words for each in found.bins] == [bin_words(EDGES, at) for at in range(len(EDGES) + 2)]
    assert [each.now for each in found.bins] == blocks.counts("x")[0].tolist()
    assert [each.before for each in found.bins] == blocks.counts("x")[1:].sum(axis=0).tolist()
    assert [each.reference for each in found.bins] == [*sample]
    (older,) = ranked(blocks, reference({"x": (1, 2)}, x=EDGES), classifies=True)
    assert {each.reference for each in older.bins} == {None}, "counts of other bins are no reference"


def test_a_bin_is_described_in_words() -> None:
    numbers, words = np.array([1.0, 2.0]), np.array(["blue", "red"])
    assert [bin_words(numbers, at) for at in range(4)] == ["missing", "up to 1", "1 to 2", "above 2"]
    assert [bin_words(words, at) for at in range(1, 4)] == ['"blue"', '"red"', "other categories"]
    assert bin_words(None, 3) == "bin 3"
    assert bin_words(np.zeros(0), 1) == "any number"


def trial_rows(shift: float, seed: int = 0) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Ten devices on trial and thirty others, each with its own level, under a common change."""
    random = np.random.default_rng(seed)
    weather = 2 * np.sin(np.arange(48) / 8)
    devices = [weather + random.normal(0, 0.5) + random.normal(0, 0.6, (5, 48)) for _ in range(40)]
    shapes = {
        f"d{at}": Shape(features={"x": binned(values.ravel() + shift * (at < 10))}) for at, values in enumerate(devices)
    }
    return {name: shapes[name] for name in list(shapes)[:10]}, {name: shapes[name] for name in list(shapes)[10:]}


def test_devices_on_trial_with_the_same_weather_do_not_differ_and_those_with_more_do() -> None:
    chance = [between(*trial_rows(0.0, seed), {}, np.random.default_rng(0))[0].probability for seed in range(20)]
    assert sum(each <= 0.01 for each in chance) <= 1
    assert between(*trial_rows(1.0), {}, np.random.default_rng(0))[0].probability <= 0.005


def test_devices_are_exchanged_only_within_their_kind() -> None:
    trial, control = trial_rows(0.0)
    kinds = dict.fromkeys(trial, "small") | dict.fromkeys(control, "large")
    assert between(trial, control, kinds, np.random.default_rng(0))[0].probability == 1.0, "nobody can be exchanged"


def test_one_device_on_trial_gives_no_result_and_hours_of_one_side_do_not_count() -> None:
    trial, control = trial_rows(1.0)
    assert between({"d0": trial["d0"]}, control, {}, np.random.default_rng(0)) == []
    shape = Shape(features={"x": (0, 60)})
    ours, theirs = same_hours([("a", 0.0, shape), ("a", 60.0, shape)], [("b", 60.0, shape), ("b", 120.0, shape)])
    assert (ours, theirs) == ({"a": shape}, {"b": shape})


def test_shapes_are_added_up_and_invented_names_of_a_device_use_no_more_memory() -> None:
    one = Shape({"x": (1, 2)}, (1,), {"a": 1}, {"x": (0, 1, 0, 0)}, {"side=left": (1, 0, 0, 0, 0, 0)})
    assert one.plus(one) == Shape({"x": (2, 4)}, (2,), {"a": 2}, {"x": (0, 2, 0, 0)}, {"side=left": (2, 0, 0, 0, 0, 0)})
    many = Shape(predictions={"first": 1})
    for number in range(200):
        many = many.plus(Shape(features={f"x{number}": (1,)}, predictions={str(number): 1}))
    assert len(many.features) <= 65
    assert len(many.predictions) == MAX_LABELS + 1
    assert sum(many.predictions.values()) == 201
