"""A bad label, or an answer that cannot be counted, affects no row, no sensor and no interval."""

import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample
from agent.serving.answers import Answers
from agent.serving.observed import Observed
from agent.serving.pipeline import run_pipeline
from contract.desired import TrialPolicy
from contract.labels import LARGEST, Unusable, same_label, settle_label
from tests.agent.bad_data_slots import BASE, interval_of, slot_of


@pytest.mark.parametrize("given", [None, "", "  ", float("nan"), "NaN", np.float32("nan")], ids=repr)
def test_a_missing_label_stays_missing_in_every_task(given: Any) -> None:
    assert settle_label(given, regression=True) is None
    assert settle_label(given, regression=False) is None


@pytest.mark.parametrize("given", [float("inf"), "-inf", 1e101, 10**400, [1], {"a": 1}, "x" * 300, b"1"], ids=str)
def test_an_invalid_label_is_distinguished_from_a_missing_one(given: Any) -> None:
    assert settle_label(given, regression=True) is Unusable.LABEL


def test_numbers_and_text_are_read_as_labels_of_the_task() -> None:
    assert settle_label("2.5", regression=True) == 2.5
    assert settle_label(True, regression=True) == 1.0
    assert settle_label(np.int64(3), regression=False) == 3
    assert settle_label("rain", regression=True) is Unusable.LABEL
    assert settle_label("rain", regression=False) == "rain"
    assert settle_label(LARGEST, regression=True) == LARGEST


def test_any_two_answers_can_be_compared() -> None:
    assert same_label("nan", "nan")
    assert same_label("inf", "inf")
    assert not same_label("inf", "infinity")
    assert not same_label("1e999", 5.0)


BAD_LABELS = ["", float("nan"), None, float("inf"), "warm", [1], 10**400, {"x": 1}]


def test_bad_labels_of_a_regression_end_neither_the_sensor_nor_the_interval() -> None:
    slot, dropped = slot_of(), Counter[str]()
    rows = [Sample({"a": 1.0, "b": 2.0}, label) for label in (*BAD_LABELS, 3.5)]
    answered: list[Any] = []
    run_pipeline(rows, slot, dropped, answered.append)
    assert (len(answered), dropped) == (9, {})
    found = interval_of(slot)
    assert (found.inferences, found.labelled, found.measured, found.labels_unusable) == (9, 1, 1, 5)
    assert (found.absolute_error_sum, found.squared_error_sum, found.errors) == (0.5, 0.25, 0)
    assert (found.label_sum, found.squared_label_sum) == (3.5, 12.25)


def test_an_empty_cell_is_not_counted_as_a_wrong_answer_of_a_classifier() -> None:
    class One:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.array([1])]

    slot = slot_of(One(), replace(BASE, task="classification"))
    for label in ("", "1", None, float("nan")):
        slot.predict(Sample({"a": 1, "b": 2}, label))
    found = interval_of(slot)
    assert (found.inferences, found.labelled, found.correct, found.labels_unusable) == (4, 1, 1, 0)


def test_a_label_whose_square_is_not_finite_is_not_added_to_a_sum() -> None:
    slot = slot_of()
    slot.predict(Sample({"a": 1.0, "b": 2.0}, 1e99))
    slot.predict(Sample({"a": 1.0, "b": 2.0}, -1e99))
    found = interval_of(slot)
    assert found.squared_error_sum == pytest.approx(2e198)
    assert (found.labelled, found.label_sum) == (2, 0.0)


def test_a_note_that_cannot_be_counted_is_dropped_and_all_others_are_counted() -> None:
    dropped: Counter[str] = Counter()
    assignment = Assignment(model="m", generation=1, manifest=BASE, policy=TrialPolicy())
    observed = Observed(
        assignment, threading.Lock(), perf_s=time.perf_counter, answers=Answers("1-0-"), dropped=dropped
    )
    truths: tuple[Any, ...] = (2.0, object(), 2.0)
    observed.notes += [(0.1, None, 1.0, truth, 1, 1, 0.0) for truth in truths]
    found = observed.take_tally()
    assert found is not None
    assert (found.measured, dropped) == (2, {"notes_skipped": 1})


def test_an_answer_that_cannot_be_encoded_is_still_counted() -> None:
    class Half:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.array(["\ud800" + "x" * 200], dtype=object)]

    slot = slot_of(Half(), replace(BASE, task="classification"))
    slot.predict(Sample({"a": 1, "b": 2}))
    assert list(interval_of(slot).predictions.values()) == [1]


def test_a_watcher_that_raises_changes_no_answer() -> None:
    class Breaks:
        def see_row(self, *_: object) -> None:
            raise ValueError("no such shape")

        see_tensors = see_row

    slot = slot_of()
    slot.watchers = (Breaks(),)  # type: ignore[assignment]
    assert slot.predict(Sample({"a": 1.0, "b": 2.0})) is not None
    slot.run({"X": np.ones((1, 2), dtype=np.float32)})
    assert slot.dropped == {"rows_unwatched": 2}
