"""Late labels, by the id of an answer, and numbers that the application measures."""

import json
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from agent.adapters.feedback_topics import FeedbackTopics
from agent.adapters.http.response_bytes import response_bytes
from agent.config import Capture, FeedbackConfig
from agent.ports import Sample
from agent.serving.answers import BLOCK_SIZE, MAX_BLOCKS, Answers
from agent.serving.capture import Capturer
from agent.serving.oip import Endpoint
from agent.serving.oip_messages import Request
from agent.serving.outbox import line_of
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from agent.serving.truth import MAX_STRETCHES, METRIC_IDLE_S, STRETCH_S
from contract.errors import BadInput, Code
from contract.messages import ModelInterval
from tests.agent.test_serving_slot import Says, assignment


class Echo:
    """Answers the first column of each row."""

    def run(self, inputs: Any) -> list[Any]:
        return [next(iter(inputs.values()))[:, 0].astype(np.int64)]


class World:
    """One slot with a clock that the test sets."""

    def __init__(self, task: str = "classification", session: Any = None) -> None:
        self.now = 1000.0
        self.slot = ModelSlot("m", perf_s=lambda: self.now, lock=threading.Lock(), prefix="b007-0-")
        self.task = task
        self.swap(1, session or Says(1))

    def swap(self, release: int, session: Any) -> None:
        before = self.slot.swap(self.slot.prepare(assignment(release, task=self.task), session))
        if before is not None:
            before.take_interval()  # as `DeviceModel` does

    def ask(self, x: float = 0.0, **about: Any) -> str:
        found = self.slot.predict(Sample({"x": x}, **about))
        assert found is not None
        return found.id

    def told(self, room: int = 99) -> list[ModelInterval]:
        return self.slot.truth.take(room)


def test_a_late_label_counts_for_the_version_that_answered() -> None:
    world = World()
    first = world.ask()
    world.swap(2, Says(0))
    second = world.ask()
    assert world.slot.feedback(first, 1).release == 1
    assert world.slot.feedback(second, "1").release == 2
    told = {each.version.release: (each.labelled, each.correct, each.inferences) for each in world.told()}
    assert told == {1: (1, 1, 0), 2: (1, 0, 0)}
    assert world.told() == []


def test_a_late_label_is_reported_with_the_age_of_its_answer_and_judges_the_trial_that_answered() -> None:
    world = World()
    name = world.ask()
    world.now += 3600
    world.slot.feedback(name, 0)
    (found,) = world.told()
    assert (found.age_s, found.labelled, found.correct) == (3600.0, 1, 0)
    assert world.slot.serving is not None
    judged = world.slot.serving.observed.judged_inferences
    assert (judged.labelled, judged.correct, judged.seen_labels) == (1, 0, 1)
    baseline = judged.baseline
    assert baseline is not None
    assert (baseline.labelled, baseline.correct) == (1, 0)


def test_stable_beside_a_trial_is_not_judged_by_answers_from_before_the_trial() -> None:
    world = World()
    before = world.ask()
    world.now += 1
    assert world.slot.serving is not None
    world.slot.serving.observed.judge_anew()
    after = world.ask()
    for name in (before, after):
        world.slot.feedback(name, 1)
    assert world.slot.serving.observed.judged_inferences.labelled == 1
    assert sum(each.labelled for each in world.told()) == 2


def test_labels_that_do_not_fit_into_a_message_are_sent_later() -> None:
    world = World()
    world.slot.feedback(world.ask(), 1)
    world.slot.metric("scrap_rate", 0.5)
    assert world.told(0) == world.told(-3) == []
    assert len(world.told(1)) == 1
    assert [each.labelled for each in world.told(1)] == [1]


def test_a_regression_is_measured_by_late_labels() -> None:
    world = World("regression", Says(2.5))
    world.slot.feedback(world.ask(), 2)
    world.slot.feedback(world.ask(), "4.0")
    (found,) = world.told()
    assert (found.measured, found.absolute_error_sum, found.label_sum) == (2, 2.0, 6.0)
    assert world.slot.serving is not None
    assert world.slot.serving.observed.judged_inferences.errors_measured().measured == 2


@pytest.mark.parametrize(
    ("label", "words"), [(None, "missing"), ("", "missing"), (float("nan"), "missing"), ("x" * 999, "label")]
)
def test_an_invalid_label_is_refused_and_the_answer_still_waits(label: Any, words: str) -> None:
    world = World()
    name = world.ask()
    with pytest.raises(BadInput, match=words) as caught:
        world.slot.feedback(name, label)
    assert caught.value.code == Code.LABEL_INVALID
    assert world.slot.feedback(name, 1).rows == 1


def test_an_unusable_label_of_a_regression_is_counted_for_its_version() -> None:
    world = World("regression", Says(2.5))
    with pytest.raises(BadInput, match="a number is needed"):
        world.slot.feedback(world.ask(), "high")
    assert [each.labels_unusable for each in world.told()] == [1]
    assert world.slot.truth.results["unusable"] == 1


def test_the_first_label_counts_and_a_second_is_refused() -> None:
    world = World()
    name = world.ask()
    world.slot.feedback(name, 1)
    labelled_at_once = world.ask(label=1)
    for again in (name, labelled_at_once):
        with pytest.raises(BadInput) as caught:
            world.slot.feedback(again, 0)
        assert caught.value.code == Code.LABEL_REPEATED
    assert [each.labelled for each in world.told()] == [1]
    assert world.slot.truth.results == {"counted": 1, "unusable": 0, "label_repeated": 2}


@pytest.mark.parametrize(
    "name",
    ["", "x", "b007-0-1", "b007-0-", "b007-0-0", "b008-0-1", "b007-0-ffffffffffffffff", "b007-0-1.0", "B007-0-1"],
)
def test_feedback_with_an_unknown_id_is_refused_with_that_reason(name: str) -> None:
    world = World()
    with pytest.raises(BadInput) as caught:
        world.slot.feedback(name, 1)
    assert caught.value.code == Code.ANSWER_UNKNOWN


def test_a_request_of_many_rows_accepts_a_label_for_each_or_for_one_of_them() -> None:
    world = World(session=Echo())
    outputs = world.slot.ask({"X": np.array([[1.0], [0.0], [1.0]], dtype=np.float32)})
    with pytest.raises(BadInput, match="1 labels for 3 rows"):
        world.slot.feedback(outputs.id, 1)
    assert world.slot.feedback(f"{outputs.id}.1", 0).rows == 1
    assert world.slot.feedback(outputs.id, [1, 1, None]).rows == 1  # row 1 has its label, row 2 is missing
    assert world.slot.feedback(outputs.id, [0, 0, 0]).rows == 1
    with pytest.raises(BadInput, match="has 3 rows"):
        world.slot.feedback(f"{outputs.id}.3", 1)
    (found,) = world.told()
    assert (found.labelled, found.correct) == (3, 2)


def test_names_of_classes_are_returned_as_they_were_answered() -> None:
    world = World(session=Says("rain", "sun", dtype=object))
    names = [world.ask() for _ in range(4)]
    for name, label in zip(names, ("rain", "sun", "sun", "rain"), strict=True):
        world.slot.feedback(name, label)
    (found,) = world.told()
    assert (found.labelled, found.correct) == (4, 2)


def test_rows_with_several_values_and_failed_rows_accept_no_label() -> None:
    world = World(session=Says([0.2, 0.8]))
    with pytest.raises(BadInput) as caught:
        world.slot.feedback(world.slot.ask({"X": np.zeros((1, 1), dtype=np.float32)}).id, 1)
    assert caught.value.code == Code.LABEL_INVALID


def test_memory_is_limited_and_the_oldest_answers_are_dropped_first() -> None:
    answers = Answers("1-0-")
    version = answers.version(assignment())
    for number in range(1, (MAX_BLOCKS + 3) * BLOCK_SIZE):
        answers.keep(number, version, 1.0, 0.0)
    assert len(answers._blocks) == MAX_BLOCKS
    assert answers.find(answers.name(3 * BLOCK_SIZE))[0] == 1
    with pytest.raises(BadInput, match="131,072"):
        answers.find(answers.name(3 * BLOCK_SIZE - 1))
    answers.keep(1, version, 1.0, 0.0)  # noted so late that it is too old to be kept
    assert len(answers._blocks) == MAX_BLOCKS


def test_values_of_many_rows_have_their_own_limit() -> None:
    answers = Answers("1-0-")
    version = answers.version(assignment())
    for number in range(1, 400):
        answers.keep(number, version, [1.0] * 1000, 0.0)
    assert len(answers._many) == 131
    assert answers.find(answers.name(399))[0] == 1000
    with pytest.raises(BadInput):
        answers.find(answers.name(1))


def test_labels_that_cannot_be_sent_wait_in_intervals_for_at_most_a_day() -> None:
    world = World()
    names = []
    for _ in range(MAX_STRETCHES + 2):
        names.append(world.ask())
        world.now += STRETCH_S
    for name in names:
        world.slot.feedback(name, 1)
    assert len(world.told(10)) == 10
    assert len(world.told(9999)) == MAX_STRETCHES - 10
    assert world.slot.dropped["labels"] == 2


def test_an_application_reports_its_own_metrics_for_the_serving_or_the_answering_version() -> None:
    world = World()
    first = world.ask()
    world.swap(2, Says(0))
    world.ask()
    world.slot.metric("scrap_rate", 0.02)
    world.slot.metric("scrap_rate", 0.04)
    world.slot.metric("scrap_rate", 0.5, first)
    told = {each.version.release: each.metrics["scrap_rate"] for each in world.told()}
    assert (told[2].count, round(told[2].sum, 6)) == (2, 0.06)
    assert (told[1].count, told[1].sum) == (1, 0.5)


@pytest.mark.parametrize(
    ("name", "value"), [("", 1.0), ("a b", 1.0), ("1a", 1.0), ("x" * 65, 1.0), ("x", float("nan")), ("x", "much")]
)
def test_a_metric_without_a_usable_name_or_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        World().slot.metric(name, value)
    assert caught.value.code == Code.METRIC_INVALID


def topics_of(world: World, dropped: Counter[str]) -> FeedbackTopics:
    def find(name: str) -> ModelSlot:
        if not name.startswith(world.slot.answers.prefix):
            raise BadInput(Code.ANSWER_UNKNOWN, name)
        return world.slot

    config = FeedbackConfig(labels_topic="line/labels", metrics_topic="line/metrics")
    link: Any = None
    return FeedbackTopics(config, link=link, dropped=dropped, slots=lambda: {"m": world.slot}, find=find)


def test_labels_and_metrics_arrive_over_topics_and_bad_ones_are_counted() -> None:
    world, dropped = World(), Counter[str]()
    topics, name = topics_of(world, dropped), world.ask()
    assert topics.take("line/labels", json.dumps({"id": name, "label": 1}).encode())
    assert topics.take("line/metrics", b'{"model": "m", "name": "scrap_rate", "value": 0.5}')
    assert dropped["feedback_refused"] == 0
    bad = (b"", b"[]", b"\xff", b'{"id": 1}', b'{"id": "x", "label": 1}', json.dumps({"id": name, "label": 1}).encode())
    for payload in bad:
        assert topics.take("line/labels", payload)
    assert topics.take("line/metrics", b'{"model": "other", "name": "a", "value": 1}')
    assert dropped["feedback_refused"] == len(bad) + 1
    assert not topics.take("line/rows", b"{}")
    assert sorted((each.labelled, len(each.metrics)) for each in world.told()) == [(0, 1), (1, 0)]


def post(endpoint: Endpoint, path: str, body: Any) -> tuple[int, Any, str]:
    found = endpoint.answer(Request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode()))
    return found.status, json.loads(found.body), found.answer_id


def test_an_http_answer_has_its_id_in_a_header_and_feedback_is_counted_or_refused_with_a_reason() -> None:
    world = World(session=Echo())
    endpoint = Endpoint(
        lambda: {"m": world.slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1"
    )
    given = {"inputs": [{"name": "X", "shape": [2, 1], "datatype": "FP32", "data": [1, 0]}]}
    status, body, name = post(endpoint, "/v2/models/m/infer", given)
    assert (status, "id" in body, name) == (200, False, "b007-0-1")
    raw = response_bytes(
        endpoint.answer(Request("POST", "/v2/models/m/infer", json.dumps(given).encode())), Request("POST", "")
    )
    assert b"\r\nEdgeward-Answer-Id: b007-0-2\r\n" in raw
    feedback = "/v2/models/m/feedback"
    assert post(endpoint, feedback, {"id": name, "label": [1, 1]})[:2] == (
        200, {"model_name": "m", "model_version": "1", "id": name, "rows": 2},
    )  # fmt: skip
    refused = {
        409: {"id": name, "label": [1, 1]},
        404: {"id": "b007-0-ff", "label": 1},
        400: {"id": "b007-0-2", "label": 1},
    }
    for wanted, asked in refused.items():
        status, body, _ = post(endpoint, feedback, asked)
        assert (status, list(body)) == (wanted, ["error"])
    assert post(endpoint, feedback, b"{")[0] == 400
    assert post(endpoint, "/v2/models/none/feedback", {"id": name, "label": 1})[0] == 404
    assert endpoint.answer(Request("GET", feedback)).status == 405
    assert post(endpoint, "/v2/models/m/metrics", {"name": "scrap_rate", "value": 0.5})[0] == 200
    assert post(endpoint, "/v2/models/m/metrics", {"name": "scrap rate", "value": 0.5})[0] == 400
    assert post(endpoint, "/v2/models/m/metrics", {"name": "a", "value": 1, "id": "b007-0-ff"})[0] == 404


def test_a_captured_row_and_a_line_of_a_sink_contain_the_id_of_the_answer_and_no_private_key() -> None:
    world = World()
    policy = Capture(model="m", rate=1.0, remove=("serial",))
    capturer = Capturer(policy, random=lambda: 0.0, clock=lambda: 5.0, dropped=Counter())
    world.slot.watchers = (capturer,)
    lines = []
    for key in ("line-7", "S1"):
        found = world.slot.predict(Sample({"x": 1.0, "serial": "S1"}, key=key, file="a.png"))
        assert found is not None
        lines.append(json.loads(line_of(found, 5.0, ["x"])))
    assert [(row.id, row.key, row.file) for row in capturer.waiting] == [
        ("b007-0-1", "line-7", "a.png"), ("b007-0-2", "", "a.png"),
    ]  # fmt: skip
    assert [(line["id"], line["key"], line["file"], line["inputs"]) for line in lines] == [
        ("b007-0-1", "line-7", "a.png", {"x": 1.0}), ("b007-0-2", "S1", "a.png", {"x": 1.0}),
    ]  # fmt: skip


def test_a_seventeenth_metric_is_refused() -> None:
    world = World()
    for number in range(16):
        world.slot.metric(f"m{number}", 1.0)
    with pytest.raises(BadInput, match="there are 16 already"):
        world.slot.metric("m16", 1.0)


def test_names_that_nobody_uses_for_an_hour_give_their_place_to_new_ones() -> None:
    world = World()
    for number in range(16):
        world.slot.metric(f"junk_{number}", 1.0)
    world.now += METRIC_IDLE_S
    with pytest.raises(BadInput, match="there are 16 already"):
        world.slot.metric("scrap_rate", 0.5)  # nothing was sent yet, and a message has room for 16
    world.told()
    world.slot.metric("junk_0", 2.0)
    world.slot.metric("scrap_rate", 0.5)
    assert set(world.slot.truth.metrics) == {"junk_0", "scrap_rate", *(f"junk_{number}" for number in range(2, 16))}
    (told,) = world.told()
    assert sorted(told.metrics) == ["junk_0", "scrap_rate"]
