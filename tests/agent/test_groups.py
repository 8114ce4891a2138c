"""Answers by group: counted on the device, with labels that come at once or later, and bounded."""

from contextlib import nullcontext
from typing import Any

import numpy as np
from msgspec.structs import replace

from agent.core.model import Assignment
from agent.serving.answers import Answers
from agent.serving.groups import MAX_WAITING, OTHER, Groups
from agent.serving.observed import Observed
from contract.desired import TrialPolicy
from contract.protocol import MAX_GROUPS
from firmware_sim.models import make_model

MANIFEST = replace(make_model(1, "good").manifest, groups=("side",), positive="1", task="classification")


def add(groups: Groups, number: int, answer: Any, label: Any = None, **values: Any) -> None:
    groups.add((number, 0), values, answer, label)


def test_rows_answers_and_labels_are_counted_for_each_group_of_a_row() -> None:
    groups = Groups(("side", "age"), "1")
    add(groups, 1, "1", "1", side="left", age=30.0)
    add(groups, 2, 0, 1.0, side="left")
    add(groups, 3, 1, 0, side="right", other=7)
    assert groups.take() == {
        "side=left": (2, 1, 2, 1, 0, 0),
        "age=30": (1, 1, 1, 1, 0, 0),
        "side=right": (1, 1, 0, 0, 1, 1),
    }
    assert groups.take() == {}


def test_a_late_label_is_counted_once_for_the_group_of_its_row() -> None:
    groups = Groups(("side", "age"), "1")
    add(groups, 5, 1, side="left")
    add(groups, 0, 1, side="left")
    groups.judged_later((5, 0), 1, 0)
    groups.judged_later((5, 0), 1, 0)
    groups.judged_later((0, 0), 1, 0)
    assert groups.take() == {"side=left": (2, 2, 0, 0, 1, 1)}


def test_rows_without_the_column_are_in_no_group() -> None:
    groups = Groups(("side", "age"), "1")
    add(groups, 1, 1, colour="red")
    assert groups.take() == {}


def test_tensors_are_counted_row_by_row() -> None:
    groups = Groups(("side", "age"), "1")
    groups.add_tensors(9, {"side": np.array([0.0, 1.0, 1.0])}, np.array([1, 1, 0]))
    groups.judged_later((9, 2), 0, 1)
    assert groups.take() == {"side=0": (1, 1, 0, 0, 0, 0), "side=1": (2, 1, 1, 0, 0, 0)}


def test_values_beyond_the_limit_are_counted_as_others_and_waiting_answers_are_limited() -> None:
    groups = Groups(("side", "age"), "1")
    for number in range(1, MAX_WAITING + 100):
        add(groups, number, 1, side=f"s{number % 100}" + "x" * 500)
    groups.judged_later((1, 0), 1, 1)
    found = groups.take()
    assert len(found) == MAX_GROUPS + 1
    assert found[OTHER][0] > 0
    assert found[OTHER][2] == 0, "the oldest answer waits no longer"
    assert max(map(len, found)) < 64


def test_a_private_column_is_never_a_group() -> None:
    assignment = Assignment(model="m", generation=1, manifest=MANIFEST, policy=TrialPolicy())

    def groups(private: frozenset[str]) -> Groups | None:
        return Observed(assignment, nullcontext(), perf_s=float, answers=Answers("a-"), private=private).groups

    assert groups(frozenset()) is not None
    assert groups(frozenset({"side"})) is None
