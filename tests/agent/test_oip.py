"""The Open Inference Protocol at the endpoint: the answers, and which field a refusal names."""

import itertools
import json
import struct
import threading
import time
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.core.model import Assignment
from agent.ports import Array, Inputs
from agent.serving.oip import Endpoint, Request
from agent.serving.slot import ModelSlot
from agent.serving.split import Split
from agent.serving.statistics import MAX_VERSIONS, Statistics
from contract.desired import TrialPolicy
from contract.manifest import Tensor
from firmware_sim.models import make_model

INFER = "/v2/models/plant/infer"


class Sums:
    """Answers the sum of each row, and the row's first text if it has one."""

    def run(self, inputs: Inputs) -> list[Array]:
        return [inputs["X"].sum(axis=1), inputs["site"].reshape(-1)] if "site" in inputs else [inputs["X"].sum(axis=1)]


class Raises:
    def run(self, inputs: Inputs) -> list[Array]:
        raise RuntimeError("a kernel broke")


X = Tensor(name="X", datatype="FP32", shape=(-1, 3))
SITE = Tensor(name="site", datatype="BYTES", shape=(-1, 1))
SUM = Tensor(name="sum", datatype="FP32", shape=(-1,))
ECHO = Tensor(name="echo", datatype="BYTES", shape=(-1,))
CLASSES = {"name": "sum", "parameters": {"classification": 2}}


def slot_of(session: Any = None, release: int = 3, inputs: tuple[Tensor, ...] = (X,), **changes: Any) -> ModelSlot:
    outputs = (SUM, ECHO) if SITE in inputs else (SUM,)
    manifest = msgspec.structs.replace(
        make_model(release, "good").manifest, inputs=inputs, outputs=outputs, task="other", **changes
    )
    slot = ModelSlot("plant", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(
        slot.prepare(
            Assignment(model="plant", generation=1, manifest=manifest, policy=TrialPolicy()), session or Sums()
        )
    )
    return slot


def endpoint_of(*slots: ModelSlot) -> Endpoint:
    ticks = itertools.count(0, 1000)
    statistics = Statistics(lambda: next(ticks), lambda: 5.0, threading.Lock())
    return Endpoint(lambda: {slot.model: slot for slot in slots}, statistics, version="9")


def post(endpoint: Endpoint, body: object, path: str = INFER) -> tuple[int, Any]:
    found = endpoint.answer(Request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode()))
    return found.status, json.loads(found.body)


def get(endpoint: Endpoint, path: str) -> tuple[int, Any]:
    found = endpoint.answer(Request("GET", path))
    return found.status, json.loads(found.body)


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "X", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6.5]} | changes


def test_an_answer_contains_model_version_all_outputs_and_the_id_of_the_request() -> None:
    status, told = post(endpoint_of(slot_of()), {"id": "a7", "inputs": [tensor()]})
    assert status == 200
    outputs = [{"name": "sum", "shape": [2], "datatype": "FP32", "data": [6.0, 15.5]}]
    assert told == {"model_name": "plant", "model_version": "3", "id": "a7", "outputs": outputs}


def test_an_answer_without_a_request_id_has_no_id() -> None:
    assert "id" not in post(endpoint_of(slot_of()), {"inputs": [tensor()]})[1]


def test_flat_and_nested_data_are_read_the_same() -> None:
    endpoint = endpoint_of(slot_of())
    nested = tensor(data=[[1, 2, 3], [4, 5, 6.5]])
    assert post(endpoint, {"inputs": [nested]}) == post(endpoint, {"inputs": [tensor()]})


def test_fields_that_the_protocol_does_not_define_are_ignored() -> None:
    assert post(endpoint_of(slot_of()), {"inputs": [tensor(hint=1)], "trace": True, "parameters": {"x": 1}})[0] == 200


def test_raw_tensors_follow_the_json_in_both_directions() -> None:
    row = np.array([[1, 2, 3], [4, 5, 6]], dtype="<f4").tobytes()
    given = {"name": "X", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(row)}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    found = endpoint_of(slot_of()).answer(Request("POST", INFER, head + row, len(head)))
    assert (found.status, found.content_type) == (200, "application/octet-stream")
    assert found.json_length is not None
    described = json.loads(found.body[: found.json_length])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(found.body[found.json_length :], "<f4").tolist() == [6.0, 15.0]


def test_text_is_sent_as_json_and_as_lengths_with_bytes() -> None:
    endpoint = endpoint_of(slot_of(inputs=(X, SITE)))
    texts = tensor(name="site", datatype="BYTES", shape=[2, 1], data=["süd", "nord"])
    status, told = post(endpoint, {"inputs": [tensor(), texts], "outputs": [{"name": "echo"}]})
    assert (status, told["outputs"][0]["data"]) == (200, ["süd", "nord"])
    raw = b"".join(struct.pack("<I", len(text)) + text for text in ("süd".encode(), b"nord"))
    binary = {"name": "site", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(raw)}}
    wanted = [{"name": "echo", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor(), binary], "outputs": wanted}).encode()
    found = endpoint.answer(Request("POST", INFER, head + raw, len(head)))
    assert found.json_length is not None
    assert found.body[found.json_length :] == raw


def test_only_the_requested_outputs_are_returned() -> None:
    texts = tensor(name="site", datatype="BYTES", shape=[2, 1], data=["a", "b"])
    _, told = post(endpoint_of(slot_of(inputs=(X, SITE))), {"inputs": [texts, tensor()], "outputs": [{"name": "sum"}]})
    assert [output["name"] for output in told["outputs"]] == ["sum"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "request: "),
        ({}, 400, "`inputs`"),
        ({"inputs": []}, 400, "input 'X' is missing"),
        ({"inputs": [tensor(), tensor()]}, 400, "input 'X' is given twice"),
        ({"inputs": [tensor(name="Y")]}, 400, "input 'Y' is unknown; the model takes X"),
        ({"inputs": [tensor(datatype="INT64")]}, 400, "input 'X': datatype: 'INT64', the model takes FP32"),
        ({"inputs": [tensor(shape=[3, 2])]}, 400, "input 'X': shape: [3, 2], the model takes [-1, 3]"),
        ({"inputs": [tensor(shape=[-2, 3])]}, 400, "input 'X': shape"),
        ({"inputs": [tensor(shape=[2**40, 3])]}, 400, "elements, limit"),
        ({"inputs": [tensor(data=[1, 2])]}, 400, "input 'X': data: 2 elements for shape [2, 3]"),
        (
            {"inputs": [tensor(shape=[2, 3], data=[1, 2, 3, 4, 5, "6"])]},
            400,
            "input 'X', element 5: text where a number belongs",
        ),
        ({"inputs": [tensor(data=[1, 2, 3, 4, 5, 1e39])]}, 400, "input 'X': a number is too large for FP32"),
        ({"inputs": [tensor(data=[[1, 2, 3], [4]])]}, 400, "input 'X': data"),
        ({"inputs": [tensor(data="AAAA")]}, 400, "input 'X': data"),
        ({"inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32"}]}, 400, "input 'X': data: is missing"),
        ({"inputs": [tensor()], "outputs": [{"name": "z"}]}, 400, "output 'z' is unknown; the model gives sum"),
        ({"inputs": [tensor()], "id": "x" * 300}, 400, "id: 300 characters"),
        ({"inputs": [tensor()], "parameters": {"sequence_id": 4}}, 501, "sequence_id"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "sum", "parameters": {"classification": 2}}]},
            501,
            "classification",
        ),
        ({"inputs": [tensor(parameters={"binary_data_size": 24})]}, 400, "binary_data_size says 24, 0 bytes are left"),
    ],
)
def test_errors_name_the_wrong_field(body: object, status: int, words: str) -> None:
    endpoint = endpoint_of(slot_of())
    found, told = post(endpoint, body)
    assert (found, words in told["error"]) == (status, True), told
    assert post(endpoint, {"inputs": [tensor()]})[0] == 200


@pytest.mark.parametrize(
    ("json_length", "size", "words"),
    [
        (10_000, 24, "the body has"),
        (-1, 24, "Inference-Header-Content-Length says -1"),
        (None, 20, "needs 24"),
        (None, 23, "needs 24"),
    ],
)
def test_a_header_with_a_wrong_body_length_is_refused(json_length: int | None, size: int, words: str) -> None:
    given = {"name": "X", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [given]}).encode()
    length = len(head) if json_length is None else json_length
    found = endpoint_of(slot_of()).answer(Request("POST", INFER, head + b"\0" * size, length))
    assert (found.status, words in json.loads(found.body)["error"]) == (400, True), found.body


def test_bytes_that_belong_to_no_tensor_are_refused() -> None:
    head = json.dumps({"inputs": [tensor()]}).encode()
    found = endpoint_of(slot_of()).answer(Request("POST", INFER, head + b"1234", len(head)))
    assert "4 bytes follow" in json.loads(found.body)["error"]


def test_texts_that_end_too_early_are_refused() -> None:
    raw = struct.pack("<I", 900) + b"abc"
    given = {"name": "site", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor(shape=[1, 3], data=[1, 2, 3]), given]}).encode()
    found = endpoint_of(slot_of(inputs=(X, SITE))).answer(Request("POST", INFER, head + raw, len(head)))
    assert "do not hold 1 strings" in json.loads(found.body)["error"]


def test_nan_is_an_empty_cell_and_is_refused_if_the_model_accepts_no_missing_value() -> None:
    raw = np.array([[1, np.nan, 3]], dtype="<f4").tobytes()
    given = {"name": "X", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [given]}).encode()
    request = Request("POST", INFER, head + raw, len(head))
    assert endpoint_of(slot_of()).answer(request).status == 200
    refused = endpoint_of(slot_of(nan="refuse")).answer(request)
    assert (refused.status, "NaN" in json.loads(refused.body)["error"]) == (400, True)


def test_a_bad_request_does_not_count_against_the_model_and_a_failing_model_does() -> None:
    slot = slot_of(Raises())
    endpoint = endpoint_of(slot)
    assert slot.serving is not None
    assert post(endpoint, {"inputs": [tensor(shape=[9])]})[0] == 400
    assert len(slot.serving.observed.judged_inferences) == 0
    assert post(endpoint, {"inputs": [tensor()]}) == (500, {"error": "RuntimeError: a kernel broke"})
    assert slot.serving.observed.judged_inferences.errors == 1


def test_unknown_models_versions_and_paths_are_not_found() -> None:
    endpoint = endpoint_of(slot_of())
    for path in ("/v2/models/none/infer", "/v2/models/plant/versions/2/infer"):
        assert post(endpoint, {"inputs": [tensor()]}, path)[0] == 404
    for path in ("/", "/v3", "/v2/models/plant/other", "/v2/models/none/ready", "/v2/health"):
        assert get(endpoint, path)[0] == 404, path


def test_a_required_model_that_does_not_serve_is_not_ready_and_the_server_is_not_either() -> None:
    empty = ModelSlot("empty", perf_s=time.perf_counter, lock=threading.Lock())
    empty.due = True
    endpoint = endpoint_of(slot_of(), empty)
    assert get(endpoint, "/v2/health/live") == (200, {"live": True})
    assert get(endpoint, "/v2/health/ready") == (503, {"ready": False})
    assert get(endpoint, "/v2/models/empty/ready")[0] == 503
    assert get(endpoint, "/v2/models/empty")[0] == 503
    assert get(endpoint, "/v2/models/plant/ready")[0] == 200
    assert get(endpoint, "/v2/models/plant/versions/2/ready")[0] == 503
    _, index = post(endpoint, b"", "/v2/repository/index")
    assert [(entry["name"], entry["state"]) for entry in index] == [("empty", "UNAVAILABLE"), ("plant", "READY")]


def test_clients_cannot_load_models() -> None:
    status, told = post(endpoint_of(slot_of()), b"", "/v2/repository/models/plant/unload")
    assert (status, "controller" in told["error"]) == (403, True)


def test_metadata_describes_server_model_and_tensors() -> None:
    endpoint = endpoint_of(slot_of())
    assert get(endpoint, "/v2")[1]["extensions"] == [
        "binary_tensor_data",
        "statistics",
        "model_repository",
        "model_configuration",
    ]
    assert get(endpoint, "/v2/")[0] == 200
    named = Endpoint(dict, Statistics(lambda: 0, lambda: 0.0, threading.Lock()), version="9", device="pi-1")
    assert (get(named, "/v2")[1]["device"], "device" in get(endpoint, "/v2")[1]) == ("pi-1", False)
    assert get(endpoint, "/v2/models") == (200, {"models": ["plant"]})
    inputs = [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
    told = get(endpoint, "/v2/models/plant/versions/3")[1]
    assert (told["versions"], told["platform"], told["inputs"]) == (["3"], "onnx_onnxv1", inputs)


def test_statistics_are_summed_exactly() -> None:
    endpoint = endpoint_of(slot_of())
    post(endpoint, {"inputs": [tensor()]})
    post(endpoint, {"inputs": [tensor()]})
    post(endpoint, b"{")
    (told,) = get(endpoint, "/v2/models/plant/stats")[1]["model_stats"]
    assert (told["inference_count"], told["execution_count"], told["last_inference"]) == (4, 2, 5000)
    parts = told["inference_stats"]
    assert (parts["success"]["count"], parts["fail"]["count"]) == (2, 1)
    assert parts["success"]["ns"] == sum(
        parts[part]["ns"] for part in ("compute_input", "compute_infer", "compute_output")
    )
    assert get(endpoint, "/v2/models/stats")[1]["model_stats"] == [told]


def test_statistics_drop_the_oldest_version_beyond_the_limit() -> None:
    statistics = Statistics(lambda: 0, lambda: 0.0, threading.Lock())
    for release in range(MAX_VERSIONS + 5):
        statistics.succeeded("m", str(release), statistics.begin(), 1)
    assert len(statistics.versions) == MAX_VERSIONS
    assert ("m", "4") not in statistics.versions


def test_metrics_are_prometheus_text() -> None:
    endpoint = endpoint_of(slot_of())
    post(endpoint, {"inputs": [tensor()]})
    text = endpoint.answer(Request("GET", "/metrics")).body.decode()
    labels = 'model_name="plant",model_version="3"'
    assert f'edgeward_inference_requests_total{{{labels},result="success"}} 1\n' in text
    assert f'edgeward_inference_duration_seconds_bucket{{{labels},le="+Inf"}} 1\n' in text
    assert f"edgeward_inference_duration_seconds_count{{{labels}}} 1\n" in text


def test_after_a_swap_the_new_version_answers() -> None:
    slot = slot_of()
    endpoint = endpoint_of(slot)
    slot.swap(slot_of(release=4).serving)
    assert post(endpoint, {"inputs": [tensor()]})[1]["model_version"] == "4"


def both_versions() -> tuple[ModelSlot, Endpoint]:
    """Version 4 on trial with half of the keys, stable version 3 beside it."""
    slot, stable = slot_of(release=4), slot_of(release=3)
    slot.fallback = stable.serving
    slot.split = Split(0.5, "trial")
    return slot, endpoint_of(slot)


def test_a_routing_key_gets_the_same_version_each_time_and_the_id_replaces_a_missing_key() -> None:
    _, endpoint = both_versions()
    by_key = {}
    for key in map(str, range(60)):
        asked = {"inputs": [tensor()], "parameters": {"routing_key": key}}
        found = {post(endpoint, asked | {"id": f"{key}-{turn}"})[1]["model_version"] for turn in range(3)}
        assert len(found) == 1
        by_key[key] = found.pop()
        assert post(endpoint, {"inputs": [tensor()], "id": key})[1]["model_version"] == by_key[key]
    assert set(by_key.values()) == {"3", "4"}


def test_both_versions_of_a_split_can_be_requested_by_number() -> None:
    _, endpoint = both_versions()
    for version in ("3", "4"):
        status, told = post(endpoint, {"inputs": [tensor()]}, f"/v2/models/plant/versions/{version}/infer")
        assert (status, told["model_version"]) == (200, version)
        assert get(endpoint, f"/v2/models/plant/versions/{version}/ready")[0] == 200
    assert get(endpoint, "/v2/models/plant")[1]["versions"] == ["3", "4"]
    assert "3 does" in get(endpoint, "/v2/models/plant/versions/9")[1]["error"]
    index = json.loads(endpoint.answer(Request("POST", "/v2/repository/index", b"{}")).body)
    assert [entry["version"] for entry in index] == ["4", "3"]


def test_a_column_that_was_trained_as_0_and_1_accepts_true_and_false() -> None:
    class Keeps:
        seen: Any = None

        def run(self, inputs: Any) -> list[Any]:
            Keeps.seen = inputs["door"]
            return [np.ones(len(inputs["door"]), dtype=np.float32)]

    door = Tensor(name="door", datatype="INT64", shape=(-1, 1))
    endpoint = endpoint_of(slot_of(Keeps(), inputs=(door,)))
    truths = {"name": "door", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]}
    assert post(endpoint, {"inputs": [truths]})[0] == 200
    assert (Keeps.seen.dtype, Keeps.seen.tolist()) == (np.int64, [[1], [0]])
    status, said = post(endpoint, {"inputs": [{**truths, "datatype": "FP32"}]})
    assert (status, "takes INT64" in said["error"]) == (400, True)


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_a_float_of_another_width_is_converted_and_a_number_too_large_for_it_is_refused(*, binary: bool) -> None:
    class Keeps:
        seen: Any = None

        def run(self, inputs: Any) -> list[Any]:
            Keeps.seen = inputs["x"]
            return [np.ones(len(inputs["x"]), dtype=np.float32)]

    values = np.array([0.1, 2.5], dtype=np.float32)
    given: dict[str, Any] = {"name": "x", "shape": [2, 1], "datatype": "FP32", "data": values.tolist()}
    wide = endpoint_of(slot_of(Keeps(), inputs=(Tensor(name="x", datatype="FP64", shape=(-1, 1)),)))
    if binary:
        del given["data"]
        head = json.dumps({"inputs": [{**given, "parameters": {"binary_data_size": 8}}]}).encode()
        assert wide.answer(Request("POST", INFER, head + values.tobytes(), len(head))).status == 200
    else:
        assert post(wide, {"inputs": [given]})[0] == 200
        narrow = endpoint_of(slot_of(Keeps(), inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),)))
        large = {**given, "datatype": "FP64", "data": [0.1, 1e39]}
        status, said = post(narrow, {"inputs": [large]})
        assert (status, "too large for float32" in said["error"]) == (400, True)
        assert post(narrow, {"inputs": [{**given, "datatype": "FP64"}]})[0] == 200
        assert Keeps.seen.dtype == np.float32
        assert post(wide, {"inputs": [given]})[0] == 200
    assert (Keeps.seen.dtype, Keeps.seen.ravel().tolist()) == (np.float64, values.astype(np.float64).tolist())


def test_requests_to_a_model_or_version_that_is_not_there_are_counted_as_one_number() -> None:
    dropped: Counter[str] = Counter()
    slots = {"plant": slot_of(), "empty": ModelSlot("empty", perf_s=time.perf_counter, lock=threading.Lock())}
    endpoint = Endpoint(
        lambda: slots, Statistics(lambda: 0, lambda: 5.0, threading.Lock()), version="9", dropped=dropped
    )
    body = {"inputs": [tensor()]}
    for path, status in (
        ("/v2/models/plnt/infer", 404), ("/v2/models/plant/versions/8/infer", 404), ("/v2/models/empty/infer", 503),
    ):  # fmt: skip
        assert post(endpoint, body, path)[0] == status
    assert get(endpoint, "/v2/models/plnt")[0] == 404, "looking is no request for an answer"
    assert (post(endpoint, body)[0], dropped) == (200, {"requests_unserved": 3})
