"""A refused row never counts against a version, and is counted: by HTTP, in-process and from sensors."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample
from agent.serving.acceptance import Acceptance
from agent.serving.observed import WORDS_EVERY_S
from agent.serving.oip import Endpoint, Request
from agent.serving.pipeline import run_pipeline
from agent.serving.slot import ModelSlot
from agent.serving.split import Split
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import Manifest, Tensor
from tests.agent.bad_data_slots import BASE, A, B, by_http, interval_of, slot_of


def by_array(slot: ModelSlot, values: list[list[Any]], **changes: Any) -> int:
    try:
        slot.run({"X": np.array(values, dtype=changes.get("dtype", np.float32))})
    except BadInput:
        return 400
    return 200


def by_row(slot: ModelSlot, values: list[list[Any]], **_: Any) -> int:
    dropped: Counter[str] = Counter()
    run_pipeline([Sample(dict(zip("ab", row, strict=False))) for row in values], slot, dropped)
    return 400 if dropped else 200


@pytest.mark.parametrize(
    ("door", "bad", "changes", "code"),
    [
        (by_http, [[1.0, 1e39]], {}, Code.VALUE_RANGE),
        (by_row, [[1.0, 1e39]], {}, Code.VALUE_RANGE),
        (by_row, [[1.0, float("inf")]], {}, Code.VALUE_RANGE),
        (by_row, [[1.0, "-inf"]], {}, Code.VALUE_RANGE),
        (by_row, [[1.0]], {}, Code.SAMPLE_INVALID),
        (by_row, [[1.0, "warm"]], {}, Code.SAMPLE_INVALID),
        (by_row, [[1.0, [2.0]]], {}, Code.SAMPLE_INVALID),
        (by_row, [[1.0, 10**400]], {}, Code.VALUE_RANGE),
        (by_http, [[1.0, 1e39]], {"datatype": "FP64"}, Code.VALUE_RANGE),
        (by_http, [[1.0, 2.0]], {"shape": [1, 3]}, Code.TENSORS_INVALID),
        (by_http, [[1.0, "2"]], {}, Code.TENSORS_INVALID),
        (by_array, [[1.0, 2.0]], {"dtype": np.float64}, Code.TENSORS_INVALID),
        (by_array, [[1, 2]], {"dtype": np.int64}, Code.TENSORS_INVALID),
        (by_array, [[1.0, float("inf")]], {}, Code.VALUE_RANGE),
    ],
)
def test_a_refused_row_is_counted_with_its_code_and_not_as_an_inference(
    door: Callable[..., int], bad: list[list[Any]], changes: dict[str, Any], code: Code
) -> None:
    slot = slot_of()
    for _ in range(3):
        assert door(slot, [[1.0, 2.0]]) == 200
    for _ in range(30):
        assert door(slot, bad, **changes) in (400, 200)
    found = interval_of(slot)
    assert (found.inferences, found.errors, found.refused, found.refused_alone) == (3, 0, {code: 30}, 0)
    assert sum(found.latency_counts) == 3
    assert slot.serving is not None
    judged = slot.serving.observed.judged_inferences
    assert (judged.errors, len(judged), judged.refused) == (0, 3, 30)


def test_a_request_that_is_not_json_is_counted_too() -> None:
    slot = slot_of()
    endpoint = Endpoint(lambda: {"m": slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1")
    assert endpoint.answer(Request("POST", "/v2/models/m/infer", b"{")).status == 400
    assert interval_of(slot).refused == {Code.REQUEST_INVALID: 1}


BY_COLUMN = replace(BASE, inputs=(A, B))


@pytest.mark.parametrize(
    "manifest",
    [BY_COLUMN, replace(BASE, columns=(), inputs=tuple(replace(each, dimensions=("n", "")) for each in (A, B)))],
    ids=["one input for each column", "a name of a dimension"],
)
def test_a_named_dimension_has_one_size_in_a_request(manifest: Manifest) -> None:
    slot = slot_of(manifest=manifest)
    one, three = np.ones((1, 1), dtype=np.float32), np.ones((3, 1), dtype=np.float32)
    with pytest.raises(BadInput, match="has one size in a request; a has 1, b has 3") as caught:
        slot.run({"a": one, "b": three})
    assert caught.value.code == Code.TENSORS_INVALID
    slot.run({"a": three, "b": three})
    endpoint = Endpoint(lambda: {"m": slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1")
    tensors = [
        {"name": name, "shape": [rows, 1], "datatype": "FP32", "data": [1.0] * rows}
        for name, rows in (("a", 1), ("b", 3))
    ]
    body = json.dumps({"inputs": tensors}).encode()
    assert endpoint.answer(Request("POST", "/v2/models/m/infer", body)).status == 400
    found = interval_of(slot)
    assert (found.inferences, found.rows, found.errors, found.refused) == (1, 3, 0, {Code.TENSORS_INVALID: 2})


def test_two_inputs_with_unnamed_sizes_are_checked_by_the_model_only() -> None:
    assert Acceptance(replace(BASE, columns=(), inputs=(A, B))).tied == []


def test_an_array_on_which_the_model_fails_is_a_model_error_and_its_text_is_logged_once() -> None:
    class Breaks:
        def run(self, inputs: Inputs) -> list[Array]:
            raise RuntimeError("a kernel broke")

    clock = [0.0]
    slot = ModelSlot("m", perf_s=lambda: clock[0], lock=threading.Lock())
    assignment = Assignment(model="m", generation=1, manifest=BASE, policy=TrialPolicy())
    slot.swap(slot.prepare(assignment, Breaks()))
    serving = slot.serving
    assert serving is not None
    for _ in range(10):
        with pytest.raises(RuntimeError, match="a kernel broke"):
            slot.run({"X": np.ones((1, 2), dtype=np.float32)})
    words = {Code.HEALTH_ERRORS: "RuntimeError: a kernel broke"}
    assert (serving.observed.take_faults(), serving.observed.take_faults()) == (words, {})
    found = interval_of(slot)
    assert (found.inferences, found.errors, found.refused, found.faults) == (10, 10, {}, words)
    with pytest.raises(RuntimeError):
        slot.run({"X": np.ones((1, 2), dtype=np.float32)})
    assert interval_of(slot).faults == {}
    clock[0] += WORDS_EVERY_S
    with pytest.raises(RuntimeError):
        slot.run({"X": np.ones((1, 2), dtype=np.float32)})
    assert interval_of(slot).faults == words


def test_a_refusal_names_the_column_and_never_contains_the_cell() -> None:
    slot = slot_of()
    with pytest.raises(BadInput):
        slot.predict(Sample({"a": 1.0, "b": "John Smith"}))
    assert interval_of(slot).faults == {
        Code.SAMPLE_INVALID: "column 'b': text of 10 characters that is no number",
    }


def test_a_nan_answer_to_a_nan_is_no_fault_and_to_a_number_is_a_fault_of_the_model() -> None:
    slot = slot_of()
    slot.run({"X": np.array([[np.nan, 1.0]], dtype=np.float32)})
    slot.run({"X": np.array([[np.nan, 1.0], [1.0, 1.0]], dtype=np.float32)})
    assert interval_of(slot).refused == {Code.VALUE_RANGE: 2}

    class Nan:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.full((len(inputs["X"]), 1), np.nan, dtype=np.float32)]

    broken = slot_of(Nan())
    broken.run({"X": np.ones((1, 2), dtype=np.float32)})
    broken.run({"X": np.array([[np.nan, 1.0], [1.0, 1.0]], dtype=np.float32)})
    found = interval_of(broken)
    assert (found.inferences, found.errors, found.refused) == (2, 2, {})


def test_the_time_of_a_large_request_is_counted_for_one_row() -> None:
    clock = [0.0]

    class Slow:
        def run(self, inputs: Inputs) -> list[Array]:
            clock[0] += 0.001 * len(inputs["X"])
            return [inputs["X"].sum(axis=1, keepdims=True)]

    slot = ModelSlot("m", perf_s=lambda: clock[0], lock=threading.Lock())
    policy = TrialPolicy(min_samples=1)
    slot.swap(slot.prepare(Assignment(model="m", generation=1, manifest=BASE, policy=policy), Slow()))
    for rows in (1, 1, 5000, 5000):
        slot.run({"X": np.ones((rows, 2), dtype=np.float32)})
    assert slot.serving is not None
    assert slot.serving.observed.judged_inferences.latency_us_p95() == pytest.approx(1000.0)
    found = interval_of(slot)
    assert (found.rows, sum(found.latency_counts), sum(found.row_latency_counts)) == (10_002, 4, 4)
    assert len(found.row_latency_counts) < len(found.latency_counts)


def test_an_unknown_category_is_a_refused_row_and_not_a_failure_of_the_model() -> None:
    class Refuses:
        def run(self, inputs: Inputs) -> list[Array]:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Status Message: Unknown Category and zeros = 0.")

    slot = slot_of(Refuses())
    for ask in (
        lambda: slot.run({"X": np.ones((1, 2), dtype=np.float32)}),
        lambda: slot.predict(Sample({"a": 1.0, "b": 2.0})),
    ):
        with pytest.raises(BadInput, match="a category that the model was not trained on"):
            ask()
    found = interval_of(slot)
    assert (found.inferences, found.errors, found.refused, found.refused_alone) == (0, 0, {Code.VALUE_RANGE: 2}, 0)


def classifier() -> Manifest:
    outputs = (
        Tensor(name="label", datatype="INT64", shape=(-1,)),
        Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
    )
    return replace(BASE, task="classification", outputs=outputs)


class Unsure:
    """Answers class 0 for every row, as `argmax` does if the probabilities are NaN."""

    def __init__(self, *, always: bool = False) -> None:
        self._always = always

    def run(self, inputs: Inputs) -> list[Array]:
        sums = inputs["X"].sum(axis=1, keepdims=True) * (np.nan if self._always else 1.0)
        return [np.zeros(len(sums), np.int64), np.hstack([sums, 1 - sums]).astype(np.float32)]


def test_a_class_with_nan_probabilities_is_a_fault_of_the_model() -> None:
    slot, broken = slot_of(Unsure(), classifier()), slot_of(Unsure(always=True), classifier())
    slot.run({"X": np.array([[np.nan, 1.0]], dtype=np.float32)})
    slot.run({"X": np.array([[0.5, 0.0], [np.nan, 1.0]], dtype=np.float32)})
    slot.run({"X": np.array([[0.5, 0.0], [0.5, 0.0]], dtype=np.float32)})
    told = interval_of(slot)
    assert (told.refused, told.inferences, told.errors) == ({Code.VALUE_RANGE: 2}, 1, 0)
    broken.run({"X": np.ones((1, 2), dtype=np.float32)})
    broken.run({"X": np.ones((3, 2), dtype=np.float32)})
    assert interval_of(broken).errors == 2


TEXT = replace(BASE, inputs=(Tensor(name="X", datatype="BYTES", shape=(-1, 2)),))


class Repeats:
    def run(self, inputs: Inputs) -> list[Array]:
        return [np.ones((len(inputs["X"]), 1), np.float32)]


@pytest.mark.parametrize(
    ("cell", "of_row", "of_array"),
    [
        (b"\xff", Code.SAMPLE_INVALID, Code.TENSORS_INVALID),
        ("\ud800", Code.SAMPLE_INVALID, Code.TENSORS_INVALID),
        (None, Code.VALUE_MISSING, Code.VALUE_MISSING),
        (float("nan"), Code.VALUE_MISSING, Code.VALUE_MISSING),
    ],
)
def test_a_value_that_is_not_text_is_refused_in_a_row_and_in_an_array(cell: Any, of_row: Code, of_array: Code) -> None:
    slot = slot_of(Repeats(), TEXT)
    with pytest.raises(BadInput):
        slot.predict(Sample({"a": "x", "b": cell}))
    assert interval_of(slot).refused == {of_row: 1}
    array = np.array([["x", None]], dtype=object)
    array[0, 1] = cell
    with pytest.raises(BadInput):
        slot.run({"X": array})
    assert interval_of(slot).refused == {of_array: 1}
    assert slot.predict(Sample({"a": b"lathe", "b": "\u00e9"})) is not None


def test_during_a_split_invalid_arrays_are_refused_and_one_text_gets_one_version() -> None:
    slot = slot_of(Repeats(), TEXT)
    slot.fallback = slot.serving
    slot.swap(slot.prepare(replace(slot.versions[0].assignment, manifest=replace(TEXT, release=2)), Repeats()))
    slot.split = Split(0.5, "trial")
    for wrong in ([1.0], {}, {"X": None}):
        with pytest.raises(BadInput):
            slot.run(wrong)  # type: ignore[arg-type]
    assert sum(each.observed.failed.total() for each in slot.versions) == 3
    for number in range(50):
        texts = [np.array([["".join(("a", str(number))), "b"]], dtype=object) for _ in range(2)]
        first, second = (slot.ask({"X": text}).release for text in texts)
        assert first == second
