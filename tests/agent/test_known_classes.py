"""A label that no version of the model can answer is refused or counted separately, and judges no version."""

import json
import threading
import time
from typing import Any

import numpy as np
import pytest

from agent.core.model import Assignment
from agent.ports import Sample
from agent.serving.oip import Endpoint
from agent.serving.oip_messages import Request
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.errors import BadInput, Code
from tests.agent.test_late_labels import Line
from tests.agent.test_serving_slot import Says, assignment
from tests.agent.test_truth import Echo, World

CLASSES = ("hoch", "mittel", "niedrig")


def version(release: int, *classes: str) -> Assignment:
    return assignment(release, task="classification", classes=classes)


class Classes(World):
    """A slot whose first version answers `CLASSES` as the test says."""

    def __init__(self, *says: Any, classes: tuple[str, ...] = CLASSES) -> None:
        self.now = 1000.0
        self.slot = ModelSlot("m", perf_s=lambda: self.now, lock=threading.Lock(), prefix="b007-0-")
        self.slot.swap(self.slot.prepare(version(1, *classes), Says(*says or ("mittel",), dtype=object)))


def test_feedback_of_an_unknown_class_is_refused_in_words_and_the_answer_still_waits() -> None:
    world = Classes()
    name = world.ask()
    words = "'Mittl' is no class of version 1, which answers 'hoch', 'mittel', 'niedrig'"
    with pytest.raises(BadInput, match=words) as caught:
        world.slot.feedback(name, "Mittl")
    assert caught.value.code == Code.LABEL_UNKNOWN
    assert world.slot.feedback(name, "mittel").rows == 1
    (found,) = world.told()
    assert (found.labelled, found.correct, found.labels_unknown, found.labels_unusable) == (1, 1, 1, 0)
    assert world.slot.truth.results["unknown_class"] == 1


def test_a_refusal_names_five_classes_and_how_many_more_there_are() -> None:
    world = Classes(classes=tuple("abcdefgh"))
    with pytest.raises(BadInput, match=r"answers 'a', 'b', 'c', 'd', 'e' and 3 more$"):
        world.slot.feedback(world.ask(), "x")


def test_an_unknown_class_over_http_is_a_400_that_names_the_classes() -> None:
    world = Classes("hoch", "mittel")
    endpoint = Endpoint(
        lambda: {"m": world.slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1"
    )
    body = json.dumps({"id": world.ask(), "label": "Mittl"}).encode()
    found = endpoint.answer(Request("POST", "/v2/models/m/feedback", body))
    assert (found.status, "'hoch', 'mittel', 'niedrig'" in json.loads(found.body)["error"]) == (400, True)


@pytest.mark.parametrize(
    ("classes", "label"), [(("0", "1"), "1.0"), (("0", "1"), True), (("False", "True"), 1), (("1.0",), 1)]
)
def test_other_spellings_of_a_class_are_read_as_the_class(classes: tuple[str, ...], label: Any) -> None:
    world = Classes(1, classes=classes)
    assert world.slot.feedback(world.ask(), label).rows == 1
    assert [(each.labelled, each.correct, each.labels_unknown) for each in world.told()] == [(1, 1, 0)]


def test_one_spelling_mistake_in_a_sensors_labels_is_counted_and_fails_no_trial() -> None:
    world = Classes()
    for _ in range(40):
        world.slot.predict(Sample({"x": 1.0}, "Mittl"))
    assert world.slot.serving is not None
    judged = world.slot.serving.observed.judged_inferences
    assert (len(judged), judged.labelled) == (40, 0)
    tally = world.slot.take_tally()
    assert tally is not None
    assert (tally.inferences, tally.labelled, tally.labels_unknown) == (40, 0, 40)


def test_a_class_that_another_version_knows_is_valid_and_the_answer_counts_as_wrong() -> None:
    world = Classes("hoch", classes=(*CLASSES, "neu"))
    world.slot.swap(world.slot.prepare(version(2, *CLASSES), Says("hoch", dtype=object)))
    world.slot.feedback(world.ask(), "neu")
    world.slot.predict(Sample({"x": 1.0}, "neu"))
    assert [(each.version.release, each.labelled, each.correct) for each in world.told()] == [(2, 1, 0)]
    tally = world.slot.take_tally()
    assert tally is not None
    assert (tally.labelled, tally.correct, tally.labels_unknown) == (1, 0, 0)


def test_every_label_counts_if_the_classes_are_unknown() -> None:
    world = Classes(classes=())
    assert world.slot.feedback(world.ask(), "Mittl").rows == 1


def test_a_row_with_a_label_of_a_new_class_is_captured_with_that_label() -> None:
    line = Line()
    line.world.slot.swap(line.world.slot.prepare(version(2, *CLASSES), Says("hoch", dtype=object)))
    line.world.slot.predict(Sample({"x": 1.0}, "neu"))
    assert [row.label for row in line.capturer.waiting] == ["neu"]


def test_rows_with_a_known_class_count_and_the_answer_says_how_many_do_not() -> None:
    world = World()
    world.slot.swap(world.slot.prepare(version(2, "0", "1"), Echo()))
    asked = world.slot.ask({"X": np.array([[1.0], [0.0], [1.0]], dtype=np.float32)})
    found = world.slot.feedback(asked.id, [1, "yes", 1])
    assert (found.rows, found.rows_unknown) == (2, 1)
    assert world.slot.feedback(asked.id, [None, 0, None]).rows == 1
