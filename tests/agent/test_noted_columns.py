"""Answers of many rows are noted as one array: they are counted and kept as the same answers in a list are."""

from typing import Any

import msgspec
import numpy as np
import pytest

from agent.ports import Array
from agent.serving.answers import Answers
from agent.serving.observed import MAX_NOTED_VALUES, noted
from contract.errors import BadInput
from tests.agent.test_serving_slot import Says, assignment, slot_with

COLUMNS = [
    np.array([3, 1, 3, -2], np.int64),
    np.array([3, 1, 3, 2], np.uint8),
    np.array([2**63, 1], np.uint64),
    np.array([0.1, -0.0, np.nan, 3.0], np.float32),
    np.array([0.1, 1e300, np.inf], np.float64),
    np.array([0.5, 2.0], np.float16),
]


def kept_of(value: Any) -> list[tuple[int, str]]:
    """Returns (row, value) of an answer that waits for its labels."""
    answers = Answers("a-")
    number = answers.version(assignment(1))
    answers.keep(1, number, value, 0.0)
    return [(kept.row, repr(kept.value)) for kept in answers.find("a-1")[1]]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.dtype.name)
def test_a_column_of_numbers_is_kept_as_the_same_numbers_in_a_list(column: Array) -> None:
    held = noted(column)
    assert isinstance(held, np.ndarray)
    assert kept_of(held) == kept_of(column.tolist())


def test_an_answer_is_copied_before_its_caller_can_change_it() -> None:
    slot = slot_with(Says([1, 0, 1]))
    outputs = slot.run({"X": np.zeros((3, 1), np.float32)})
    outputs[0][:] = 7
    interval = slot.take_tally()
    assert interval is not None
    assert interval.predictions == {"1": 2, "0": 1}


@pytest.mark.parametrize("answers", [[7, 7, 2], [True, False, True], ["b", "a", "b"], [[7], [2], [7]]])
def test_classes_are_counted_by_name_whatever_their_type(answers: list[Any]) -> None:
    slot = slot_with(Says(answers))
    for _ in range(2):
        slot.run({"X": np.zeros((3, 1), np.float32)})
    interval = slot.take_tally()
    names = [str(each[0] if isinstance(each, list) else each) for each in answers]
    assert interval is not None
    assert interval.predictions == {name: 2 * names.count(name) for name in set(names)}


def test_an_empty_answer_waits_for_no_label() -> None:
    for value in (np.empty(0, np.int64), []):
        with pytest.raises(BadInput, match="no single value"):
            kept_of(value)


def test_other_answers_are_noted_as_lists_and_large_ones_not_at_all() -> None:
    assert noted(np.array([[1, 2]])) == [[1, 2]]
    assert noted(np.array(["a", "b"], object)) == ["a", "b"]
    assert noted(np.zeros(MAX_NOTED_VALUES + 1)) is None
    assert msgspec.msgpack.encode(noted(np.array([True, False]))) == b"\x92\xc3\xc2"
