"""Estimated quality: near the true one while confidence keeps its meaning, and flagged when it does not."""

import numpy as np
import pytest
from msgspec.structs import replace

from contract.distributions import CONFIDENCE_EDGES
from controller.drift.blocks import Blocks
from controller.drift.labelled import is_right, labelled_blocks
from controller.drift.quality import MIN_LABELS, estimate, middles
from controller.drift.shape import Shape
from controller.drift.signals import ALLOWED_DROP, quality_signal
from tests.controller.drift_worlds import BINS, NOW, WEEK_S, Fleet, captured


def test_the_estimate_is_close_although_people_label_uncertain_rows_first() -> None:
    fleet = Fleet(40)
    found = [(fleet.estimate(week), fleet.truth[week]) for week in range(16, 40)]
    assert all(abs((one.value or 0.0) - truth) < 0.03 for one, truth in found)
    assert all((one.low or 0.0) <= truth <= (one.high or 0.0) for one, truth in found)
    assert sum(one.valid for one, _ in found) >= 0.6 * len(found)
    usual = [(one.usual, np.mean(fleet.truth[week - 12 : week])) for week, (one, _) in enumerate(found, start=16)]
    assert all(abs((told or 0.0) - truth) < 0.03 for told, truth in usual), "unsure rows do not make it look worse"
    assert not any(quality_signal("m", one, 1).is_beyond for one, _ in found)


def test_changed_meaning_of_the_same_rows_raises_the_flag_a_week_after_its_labels() -> None:
    fleet = Fleet(40, harm_from=30, harm=0.2)
    assert abs((fleet.estimate(30).value or 0.0) - fleet.truth[30]) > 0.1, "no confidence shows it"
    after = fleet.estimate(31)
    assert not after.valid
    assert "newest block with labels" in after.why


def test_no_estimate_is_given_without_labels_or_rows() -> None:
    fleet = Fleet(12)
    early = fleet.estimate(7)
    assert (early.value, early.valid) == (None, False)
    assert "7 blocks of time have 20 labels or more, and it takes 8" in early.why
    assert fleet.estimate(8).value is not None
    empty = estimate(np.zeros(BINS), [], middles(CONFIDENCE_EDGES))
    assert "0 rows" in empty.why


def test_a_signal_is_beyond_its_limit_only_if_it_is_valid_and_its_whole_interval_is_beyond() -> None:
    good = Fleet(20).estimate(19)
    good = replace(good, valid=True)
    usual = good.usual or 0.0
    low = replace(good, value=usual - 0.2, low=usual - 0.25, high=usual - ALLOWED_DROP - 0.01)
    assert quality_signal("m", low, 3).is_beyond
    assert not quality_signal("m", replace(low, valid=False), 3).is_beyond
    assert not quality_signal("m", replace(low, high=usual), 3).is_beyond


def test_labels_count_in_the_block_of_their_answer_and_only_those_of_the_version() -> None:
    rows = [
        captured(NOW - WEEK_S * at - 60, label="a" if at < 2 else "b") for at in range(3) for _ in range(MIN_LABELS)
    ]
    rows += [captured(NOW - 60), captured(NOW - 60, confidence=None, label="a"), captured(NOW + 5, label="a")]
    rows.append(replace(captured(NOW - 60, label="a"), release=2))
    blocks = Blocks(NOW, WEEK_S, {at: Shape(outputs=(0,) * 12 + (99,)) for at in range(3)})
    found = labelled_blocks(rows, CONFIDENCE_EDGES, blocks, 1)
    assert [(one.rows.sum(), one.right.sum()) for one in found[:3] if one is not None] == [(20, 20), (20, 20), (20, 0)]
    assert found[3:] == [None] * len(found[3:])


@pytest.mark.parametrize(("label", "right"), [("a", True), ("b", False), (None, None), (" ", None)])
def test_an_answer_is_right_if_it_equals_a_usable_label(label: str | None, right: bool | None) -> None:
    assert is_right(captured(0.0, label=label)) is right
