"""Bad data is never held against a version, and never lost without a word: by HTTP, in-process and from sensors."""

import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.adapters.sensors.streams import from_cells, parse_row, to_sample
from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample
from agent.serving.acceptance import Acceptance
from agent.serving.answers import Answers
from agent.serving.observed import WORDS_EVERY_S, Observed
from agent.serving.oip import Endpoint, Request
from agent.serving.pipeline import run_pipeline
from agent.serving.rows import RowEncoder
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.labels import LARGEST, Unusable, same_label, settle_label
from contract.manifest import Manifest, Tensor
from contract.messages import ModelInterval
from contract.wire import decode, encode
from firmware_sim.models import make_model

X = Tensor(name="X", datatype="FP32", shape=(-1, 2))
ANSWER = Tensor(name="y", datatype="FP32", shape=(-1, 1))
BASE = replace(make_model(1, "good").manifest, inputs=(X,), outputs=(ANSWER,), columns=("a", "b"), task="regression")


class Sums:
    """Answers the sum of a row, as onnxruntime would: other dtypes and sizes than declared raise."""

    def run(self, inputs: Inputs) -> list[Array]:
        arrays = list(inputs.values())
        if any(array.dtype != np.float32 for array in arrays):
            raise RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unexpected input data type")
        return [np.concatenate(arrays, axis=1).sum(axis=1, keepdims=True)]


def slot_of(session: Any = None, manifest: Manifest = BASE) -> ModelSlot:
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=threading.Lock())
    assignment = Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())
    slot.swap(slot.prepare(assignment, session or Sums()))
    return slot


def interval_of(slot: ModelSlot) -> ModelInterval:
    found = slot.take_tally()
    assert found is not None
    assert decode(encode(found), ModelInterval) == found, "whatever was counted, the message can be sent"
    return found


# Labels.


@pytest.mark.parametrize("given", [None, "", "  ", float("nan"), "NaN", np.float32("nan")], ids=repr)
def test_a_missing_label_stays_missing_whatever_the_task(given: Any) -> None:
    assert settle_label(given, regression=True) is None
    assert settle_label(given, regression=False) is None


@pytest.mark.parametrize("given", [float("inf"), "-inf", 1e101, 10**400, [1], {"a": 1}, "x" * 300, b"1"], ids=str)
def test_what_is_no_label_is_told_apart_from_a_missing_one(given: Any) -> None:
    assert settle_label(given, regression=True) is Unusable.LABEL


def test_numbers_and_text_are_labels_as_the_task_has_them() -> None:
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


def test_bad_labels_of_a_regression_cost_neither_the_sensor_nor_the_interval() -> None:
    slot, dropped = slot_of(), Counter[str]()
    rows = [Sample({"a": 1.0, "b": 2.0}, label) for label in (*BAD_LABELS, 3.5)]
    answered: list[Any] = []
    run_pipeline(rows, slot, dropped, answered.append)
    assert (len(answered), dropped) == (9, {})
    found = interval_of(slot)
    assert (found.inferences, found.labelled, found.measured, found.labels_unusable) == (9, 1, 1, 5)
    assert (found.absolute_error_sum, found.squared_error_sum, found.errors) == (0.5, 0.25, 0)
    assert (found.label_sum, found.squared_label_sum) == (3.5, 12.25)


def test_an_empty_cell_is_no_wrong_answer_of_a_classifier() -> None:
    class One:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.array([1])]

    slot = slot_of(One(), replace(BASE, task="classification"))
    for label in ("", "1", None, float("nan")):
        slot.predict(Sample({"a": 1, "b": 2}, label))
    found = interval_of(slot)
    assert (found.inferences, found.labelled, found.correct, found.labels_unusable) == (4, 1, 1, 0)


def test_a_label_whose_square_is_no_number_poisons_no_sum() -> None:
    slot = slot_of()
    slot.predict(Sample({"a": 1.0, "b": 2.0}, 1e99))
    slot.predict(Sample({"a": 1.0, "b": 2.0}, -1e99))
    found = interval_of(slot)
    assert found.squared_error_sum == pytest.approx(2e198)
    assert (found.labelled, found.label_sum) == (2, 0.0)


def test_one_note_that_cannot_be_counted_costs_itself_alone() -> None:
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


def test_a_name_that_no_message_can_carry_is_sent_all_the_same() -> None:
    class Half:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.array(["\ud800" + "x" * 200], dtype=object)]

    slot = slot_of(Half(), replace(BASE, task="classification"))
    slot.predict(Sample({"a": 1, "b": 2}))
    assert list(interval_of(slot).predictions.values()) == [1]


def test_a_watcher_that_breaks_costs_no_answer() -> None:
    class Breaks:
        def see_row(self, *_: object) -> None:
            raise ValueError("no such shape")

        see_tensors = see_row

    slot = slot_of()
    slot.watchers = (Breaks(),)  # type: ignore[assignment]
    assert slot.predict(Sample({"a": 1.0, "b": 2.0})) is not None
    slot.run({"X": np.ones((1, 2), dtype=np.float32)})
    assert slot.dropped == {"rows_unwatched": 2}


# Refused rows, by every door.


def by_http(slot: ModelSlot, values: list[list[Any]], **changes: Any) -> int:
    statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
    endpoint = Endpoint(lambda: {"m": slot}, statistics, version="1")
    tensor = {"name": "X", "shape": [len(values), 2], "datatype": "FP32", "data": values} | changes
    return endpoint.answer(Request("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode())).status


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
        (by_http, [[1.0, 2.0]], {"datatype": "FP64"}, Code.TENSORS_INVALID),
        (by_http, [[1.0, 2.0]], {"shape": [1, 3]}, Code.TENSORS_INVALID),
        (by_http, [[1.0, "2"]], {}, Code.TENSORS_INVALID),
        (by_array, [[1.0, 2.0]], {"dtype": np.float64}, Code.TENSORS_INVALID),
        (by_array, [[1, 2]], {"dtype": np.int64}, Code.TENSORS_INVALID),
        (by_array, [[1.0, float("inf")]], {}, Code.VALUE_RANGE),
    ],
)
def test_a_refused_row_is_counted_beside_with_its_code_and_is_no_inference(
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


def test_a_request_that_is_no_json_is_counted_too() -> None:
    slot = slot_of()
    endpoint = Endpoint(lambda: {"m": slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1")
    assert endpoint.answer(Request("POST", "/v2/models/m/infer", b"{")).status == 400
    assert interval_of(slot).refused == {Code.REQUEST_INVALID: 1}


A, B = (Tensor(name=name, datatype="FP32", shape=(-1, 1)) for name in "ab")
BY_COLUMN = replace(BASE, inputs=(A, B))


@pytest.mark.parametrize(
    "manifest",
    [BY_COLUMN, replace(BASE, columns=(), inputs=tuple(replace(each, dimensions=("n", "")) for each in (A, B)))],
    ids=["one input for each column", "a name of a dimension"],
)
def test_one_name_of_a_dimension_has_one_size_in_a_request(manifest: Manifest) -> None:
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


def test_two_inputs_without_names_for_their_sizes_are_left_to_the_model() -> None:
    assert Acceptance(replace(BASE, columns=(), inputs=(A, B))).tied == []


def test_an_array_on_which_the_model_itself_fails_is_its_fault_with_the_words_told_once() -> None:
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


def test_the_words_of_a_refusal_name_the_column_and_never_the_cell() -> None:
    slot = slot_of()
    with pytest.raises(BadInput):
        slot.predict(Sample({"a": 1.0, "b": "John Smith"}))
    assert interval_of(slot).faults == {
        Code.SAMPLE_INVALID: "column 'b': text of 10 characters that is no number",
    }


def test_a_nan_that_answers_a_nan_is_nobodys_fault_and_one_that_answers_a_number_is_the_models() -> None:
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


def test_a_large_request_counts_with_its_time_for_one_row() -> None:
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


# Cells.


def encoder(datatype: str, **changes: Any) -> RowEncoder:
    tensor = Tensor(name="X", datatype=datatype, shape=(-1, 1))
    return RowEncoder(replace(BASE, inputs=(tensor,), columns=("x",), **changes))


@pytest.mark.parametrize(
    ("datatype", "cell", "value"),
    [
        ("INT64", 3.0, 3),
        ("INT64", "3.0", 3),
        ("INT64", "3", 3),
        ("INT64", True, 1),
        ("INT64", "False", 0),
        ("INT64", "9007199254740993", 9007199254740993),
        ("FP32", True, 1.0),
        ("FP32", "true", 1.0),
        ("FP32", "1.5", 1.5),
        ("FP64", np.int32(4), 4.0),
        ("BOOL", "False", False),
        ("BOOL", 1, True),
        ("BOOL", "0", False),
        ("BYTES", 12, "12"),
        ("BYTES", "", ""),
    ],
)
def test_a_cell_that_says_a_value_is_that_value(datatype: str, cell: Any, value: Any) -> None:
    found = encoder(datatype).arrays({"x": cell})["X"]
    assert (found.item(), found.shape) == (value, (1, 1))


@pytest.mark.parametrize(
    ("datatype", "cell", "code"),
    [
        ("INT64", 3.9, Code.VALUE_RANGE),
        ("INT64", "3.9", Code.VALUE_RANGE),
        ("INT8", 128, Code.VALUE_RANGE),
        ("UINT8", -1, Code.VALUE_RANGE),
        ("INT64", None, Code.VALUE_MISSING),
        ("INT64", "", Code.VALUE_MISSING),
        ("BOOL", 2, Code.VALUE_RANGE),
        ("BOOL", "maybe", Code.SAMPLE_INVALID),
        ("BOOL", None, Code.VALUE_MISSING),
        ("BYTES", None, Code.VALUE_MISSING),
        ("BYTES", float("nan"), Code.VALUE_MISSING),
        ("FP16", 70000.0, Code.VALUE_RANGE),
    ],
)
def test_a_cell_that_says_no_value_is_refused_with_its_code(datatype: str, cell: Any, code: Code) -> None:
    with pytest.raises(BadInput) as caught:
        encoder(datatype).arrays({"x": cell})
    assert (caught.value.code, "'x'" in caught.value.detail or " x;" in caught.value.detail) == (code, True)


def test_a_missing_number_is_nan_where_the_model_takes_it_and_named_where_it_does_not() -> None:
    assert np.isnan(encoder("FP32").arrays({"x": None})["X"]).all()
    assert np.isnan(encoder("FP32").arrays({"x": " nan "})["X"]).all()
    for refusing in (encoder("FP32", nan="refuse"), encoder("FP32", required=("x",))):
        with pytest.raises(BadInput, match="no value for x") as caught:
            refusing.arrays({"x": float("nan")})
        assert caught.value.code == Code.VALUE_MISSING


def test_a_column_that_is_required_is_so_in_tensors_too() -> None:
    slot = slot_of(manifest=replace(BASE, required=("b",)))
    assert by_http(slot, [[None, 2.0]]) == 200
    assert by_http(slot, [[1.0, None]]) == 400
    assert interval_of(slot).refused[Code.VALUE_MISSING] == 1


SITE = Tensor(name="site", datatype="BYTES", shape=(-1, 1))
WITH_TEXT = replace(BASE, inputs=(A, SITE), columns=("a", "site"), missing_text=(("site", "nan"),))


def test_a_missing_text_is_the_same_by_every_door() -> None:
    encode_row = RowEncoder(WITH_TEXT).arrays
    line = next(csv.DictReader(io.StringIO("a,site\n1,\n")))
    doors = {
        "csv": to_sample(from_cells(line), "").values,
        "json": parse_row('{"a": 1, "site": null}', "").values,
        "parquet": to_sample({"a": 1.0, "site": None}, "").values,
        "application": {"a": 1.0, "site": float("nan")},
    }
    assert {door: encode_row(values)["site"].item() for door, values in doors.items()} == dict.fromkeys(doors, "nan")
    assert encode_row(parse_row('{"a": 1, "site": ""}', "").values)["site"].item() == ""


def test_a_missing_text_in_a_request_is_what_the_manifest_says() -> None:
    seen: list[Any] = []

    class Keeps:
        def run(self, inputs: Inputs) -> list[Array]:
            seen.append(inputs["site"].item())
            return [np.zeros((1, 1), dtype=np.float32)]

    for manifest, status in ((WITH_TEXT, 200), (replace(WITH_TEXT, missing_text=()), 400)):
        slot = slot_of(Keeps(), manifest)
        endpoint = Endpoint(
            lambda slot=slot: {"m": slot},  # type: ignore[misc]
            Statistics(time.perf_counter_ns, time.time, threading.Lock()),
            version="1",
        )
        tensors = [
            {"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1.0]},
            {"name": "site", "shape": [1, 1], "datatype": "BYTES", "data": [None]},
        ]
        found = endpoint.answer(Request("POST", "/v2/models/m/infer", json.dumps({"inputs": tensors}).encode()))
        assert found.status == status, found.body
    assert seen == ["nan"]


@pytest.mark.parametrize(
    ("datatype", "cells", "status"),
    [
        ("INT64", [3.0], 200),
        ("INT64", [True], 200),
        ("INT64", [3.9], 400),
        ("INT64", [None], 400),
        ("FP32", [None], 200),
    ],
)
def test_json_cells_mean_in_a_request_what_they_mean_in_a_row(datatype: str, cells: list[Any], status: int) -> None:
    class Zero:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.zeros((1, 1), dtype=np.float32)]

    tensor = Tensor(name="X", datatype=datatype, shape=(-1, 1))
    slot = slot_of(Zero(), replace(BASE, inputs=(tensor,), columns=("x",)))
    assert by_http(slot, [cells], datatype=datatype, shape=[1, 1]) == status


def test_names_of_dimensions_are_no_part_of_the_protocol() -> None:
    slot = slot_of(manifest=replace(BASE, inputs=(replace(X, dimensions=("n", "")),)))
    endpoint = Endpoint(lambda: {"m": slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1")
    told = json.loads(endpoint.answer(Request("GET", "/v2/models/m")).body)
    assert told["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}]
