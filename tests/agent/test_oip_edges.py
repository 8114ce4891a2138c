"""The edges of the protocol: methods, missing values, unknown outputs, and extensions that are known but not served."""

import json
import struct
import threading
import time
from typing import Any

import numpy as np
import pytest

from agent.ports import Array, Inputs, Stop, Stopped
from agent.serving.content_coding import MIN_PACKED_BYTES, coding_for, packed, unpacked
from agent.serving.cost import Cost
from agent.serving.oip import Endpoint, Request
from agent.serving.oip_messages import Refused, Response
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.errors import BadInput
from contract.manifest import Tensor
from tests.agent.test_oip import INFER, SITE, X, endpoint_of, get, post, slot_of, tensor


def asked(endpoint: Endpoint, method: str, path: str) -> tuple[int, tuple[str, ...]]:
    found = endpoint.answer(Request(method, path))
    return found.status, found.headers


class Counts:
    """Counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        self.runs += 1
        return [inputs["X"].sum(axis=1)]


class Waits:
    """Runs until it is stopped, as onnxruntime between two operators."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        assert stop is not None
        stop.ends_by(self.ended.set)
        assert self.ended.wait(5)
        raise RuntimeError("Exiting due to terminate flag")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/models/plant", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        (INFER, "POST, OPTIONS"),
        ("/v2/models/plant/versions/3/infer", "POST, OPTIONS"),
        ("/v2/repository/index", "POST, OPTIONS"),
    ],
)
def test_a_wrong_method_gets_405_with_the_allowed_methods(path: str, allow: str) -> None:
    endpoint = endpoint_of(slot_of())
    for method in ("PUT", "DELETE", "PATCH", "GET" if "POST" in allow else "POST"):
        assert asked(endpoint, method, path) == (405, (f"Allow: {allow}",)), method
    assert asked(endpoint, "OPTIONS", path) == (204, (f"Allow: {allow}",))
    assert asked(endpoint, "PUT", "/v2/none")[0] == 404
    assert asked(endpoint, "OPTIONS", "*")[0] == 204


def test_head_is_answered_as_get() -> None:
    endpoint = endpoint_of(slot_of())
    for path in ("/v2", "/v2/health/live", "/v2/models/plant", "/metrics", "/v2/none"):
        head, got = (endpoint.answer(Request(method, path)) for method in ("HEAD", "GET"))
        assert (head.status, head.content_type) == (got.status, got.content_type), path


@pytest.mark.parametrize("data", ["[1, null, 3]", "[[1, null, 3]]", "[1, NaN, 3]", "[1,NaN,3]"])
def test_null_and_nan_are_missing_values_if_the_model_accepts_them_and_are_otherwise_refused(data: str) -> None:
    body = b'{"id": "NaN \\" NaN", "inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": %s}]}'
    body = body % data.encode()
    status, told = post(endpoint_of(slot_of()), body)
    assert (status, told["id"], told["outputs"][0]["data"]) == (200, 'NaN " NaN', [None])
    status, told = post(endpoint_of(slot_of(nan="refuse")), body)
    assert (status, "input 'X': holds NaN" in told["error"]) == (400, True)


def test_the_error_names_the_column_of_a_matrix_with_a_missing_value() -> None:
    body = b'{"inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, %s, 6]}]}'
    refusing_slot = slot_of(nan="refuse", columns=("warm", "rain", "wind"))
    refusing, serving = endpoint_of(refusing_slot), refusing_slot.serving
    assert serving is not None
    assert (
        "input 'X': holds NaN in rain (row 1), and the model requires every value"
        in post(refusing, body % b"null")[1]["error"]
    )
    with pytest.raises(BadInput, match="input 'X': infinity in rain is no measurement"):
        serving.acceptance.check_values("X", np.array([[1, np.inf, 3]], np.float32))


def test_null_is_not_an_integer_and_infinity_is_not_a_number() -> None:
    whole = Tensor(name="X", datatype="INT64", shape=(-1, 3))
    body = {"inputs": [tensor(datatype="INT64", shape=[1, 3], data=[1, None, 3])]}
    assert "null, and the model requires every value" in post(endpoint_of(slot_of(inputs=(whole,))), body)[1]["error"]
    raw = b'{"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, Infinity, NaN]}]}'
    words = "request: Infinity is not a number that JSON or this model takes; send null for a missing number"
    assert post(endpoint_of(slot_of()), raw) == (400, {"error": words})
    minus = raw.replace(b"Infinity, NaN", b"2, -Infinity").replace(b'{"inputs', b'{"id": "Infinity", "inputs')
    assert "-Infinity is not a number" in post(endpoint_of(slot_of()), minus)[1]["error"]
    assert "Infinity is" not in post(endpoint_of(slot_of()), b'{"id": "Infinity", "inputs": [,]}')[1]["error"]


def test_bytes_that_are_not_utf8_are_refused() -> None:
    raw = struct.pack("<I", 3) + b"s\xfcd"
    given = {"name": "site", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor(shape=[1, 3], data=[1, 2, 3]), given]}).encode()
    found = endpoint_of(slot_of(inputs=(X, SITE))).answer(Request("POST", INFER, head + raw, len(head)))
    assert (found.status, "input 'site': data: element 0 is no UTF-8" in json.loads(found.body)["error"]) == (400, True)


@pytest.mark.parametrize("wanted", [{"name": "z"}, {"name": "sum", "parameters": {"classification": 1}}])
def test_a_request_for_an_unknown_output_runs_no_inference(wanted: dict[str, Any]) -> None:
    session = Counts()
    status, _ = post(endpoint_of(slot_of(session)), {"inputs": [tensor()], "outputs": [wanted]})
    assert (status in (400, 501), session.runs) == (True, 0)


def test_shared_memory_is_refused_in_every_request_for_it() -> None:
    endpoint, region = endpoint_of(slot_of()), {"shared_memory_region": "r", "shared_memory_byte_size": 24}
    assert post(endpoint, {"inputs": [tensor(parameters=region)]})[0] == 501
    assert post(endpoint, {"inputs": [tensor()], "outputs": [{"name": "sum", "parameters": region}]})[0] == 501
    for path in ("/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status", "/v2/trace/setting", "/v2/logging"):
        assert get(endpoint, path)[0] == 501, path


def test_the_configuration_endpoint_translates_the_manifest_into_tritons_format() -> None:
    told = get(endpoint_of(slot_of(inputs=(X, SITE))), "/v2/models/plant/config")[1]
    assert told["input"] == [
        {"name": "X", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "site", "data_type": "TYPE_STRING", "dims": [1]},
    ]
    assert (told["max_batch_size"] > 0, told["model_transaction_policy"]) == (True, {"decoupled": False})
    state = Tensor(name="X", datatype="FP32", shape=(2, -1, 128))
    told = get(endpoint_of(slot_of(inputs=(state,))), "/v2/models/plant/versions/3/config")[1]
    assert (told["max_batch_size"], told["input"][0]["dims"]) == (0, [2, -1, 128])


def test_a_scalar_tensor_is_accepted_as_a_list_and_as_a_number() -> None:
    scalar = Tensor(name="X", datatype="FP32", shape=())

    class Twice:
        def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
            assert inputs["X"].shape == ()
            return [np.atleast_1d(2 * inputs["X"])]

    endpoint = endpoint_of(slot_of(Twice(), inputs=(scalar,)))
    for data in ([4.0], 4.0):
        assert post(endpoint, {"inputs": [tensor(shape=[], data=data)]})[1]["outputs"][0]["data"] == [8.0]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"", 200),
        (b"application/json", 200),
        (b"Application/JSON; charset=utf-8", 200),
        (b"application/octet-stream", 200),
        (b"application/x-www-form-urlencoded", 200),
        (b"text/plain;charset=UTF-8", 200),
        (b"text/xml", 415),
        (b"multipart/form-data; boundary=x", 415),
        (b"application/x-protobuf", 415),
    ],
)
def test_a_body_of_another_media_type_is_415(content_type: bytes, status: int) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    found = endpoint_of(slot_of()).answer(Request("POST", INFER, body, content_type=content_type))
    assert found.status == status


def test_a_rejected_new_version_leaves_the_device_ready() -> None:
    newcomer = ModelSlot("newcomer", perf_s=time.perf_counter, lock=threading.Lock())
    endpoint = endpoint_of(slot_of(), newcomer)
    assert get(endpoint, "/v2/health/ready") == (200, {"ready": True})
    newcomer.due = True
    assert get(endpoint, "/v2/health/ready") == (503, {"ready": False})


@pytest.mark.parametrize(("ready_when_empty", "status"), [(True, 200), (False, 503)])
def test_a_setting_decides_whether_an_empty_agent_is_ready(ready_when_empty: bool, status: int) -> None:
    statistics = Statistics(lambda: 0, lambda: 0.0, threading.Lock())
    empty = Endpoint(dict, statistics, version="9", ready_when_empty=ready_when_empty)
    assert get(empty, "/v2/health/ready")[0] == status
    assert get(empty, "/v2/health/live")[0] == 200


def test_a_request_past_its_timeout_is_not_computed() -> None:
    session = Counts()
    endpoint = endpoint_of(slot_of(session))
    body = json.dumps({"inputs": [tensor()], "parameters": {"timeout": 1}}).encode()
    assert endpoint.answer(Request("POST", INFER, body)).status == 200
    endpoint._statistics._now_ns = lambda: 10_000_000
    found = endpoint.answer(Request("POST", INFER, body, received_ns=1_000_000))
    assert (found.status, "timeout of 1 us is over" in json.loads(found.body)["error"]) == (503, True)
    assert session.runs == 1


def test_an_inference_ends_at_its_timeout_and_does_not_count_as_an_error() -> None:
    session = Waits()
    slot = slot_of(session)
    timers: list[tuple[float, Any]] = []
    stop = Stop(lambda seconds, call: timers.append((seconds, call)))
    body = json.dumps({"inputs": [tensor()], "parameters": {"timeout": 250_000}}).encode()
    found: list[Response] = []
    asking = threading.Thread(
        target=lambda: found.append(endpoint_of(slot).answer(Request("POST", INFER, body, stop=stop)))
    )
    asking.start()
    while not timers:
        time.sleep(0.001)
    assert timers[0][0] == pytest.approx(0.25)
    timers[0][1]()
    asking.join(5)
    assert (found[0].status, slot.serving is not None and slot.serving.observed.judged_inferences.errors) == (503, 0)


def test_a_request_that_was_stopped_before_it_started_does_not_run() -> None:
    session, stop = Counts(), Stop(lambda *_: None)
    slot = slot_of(session)
    stop.set("the client has gone")
    assert slot.serving is not None
    with pytest.raises(Stopped, match="gone"):
        slot.run_or_fall_back(slot.serving, {"X": np.ones((1, 3), np.float32)}, stop)
    assert session.runs == 0


def test_compressed_bodies_are_decompressed_within_the_limit() -> None:
    import gzip
    import zlib

    text = b"0123456789" * 1000
    bare = zlib.compressobj(wbits=-15)
    forms = {
        b"gzip": [gzip.compress(text), gzip.compress(text[:77]) + gzip.compress(text[77:])],
        b"deflate": [zlib.compress(text), bare.compress(text) + bare.flush()],
    }
    for coding, bodies in forms.items():
        for body in bodies:
            assert unpacked(body, coding, len(text)) == text
            with pytest.raises(Refused, match="unpacks to more than") as caught:
                unpacked(body, coding, len(text) - 1)
            assert caught.value.status == 413
            for broken in (b"", body[:-1], b"\0" * 40, body + b"x"):
                with pytest.raises(Refused) as caught:
                    unpacked(broken, coding, len(text))
                assert caught.value.status == 400


def test_a_decompression_bomb_uses_no_more_memory_than_the_limit() -> None:
    import gzip
    import tracemalloc

    bomb = gzip.compress(b"\0" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(Refused):
        unpacked(bomb, b"gzip", 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip, deflate, br", "gzip"),
        (b"deflate", "deflate"),
        (b"br", ""),
        (b"*", "gzip"),
        (b"gzip;q=0", ""),
        (b"gzip;q=0, *", "deflate"),
        (b"gzip;q=0.2, deflate;q=0.5", "deflate"),
        (b"identity", ""),
        (b"gzip;q=x", ""),
        (b"", ""),
    ],
)
def test_a_large_response_is_compressed_with_the_encoding_that_the_client_prefers(accept: bytes, coding: str) -> None:
    large = Response(200, b"1.5," * MIN_PACKED_BYTES)
    assert coding_for(large, accept) == coding
    assert coding_for(Response(200, b"{}"), accept) == ""
    if coding:
        sent = packed(large, coding)
        assert unpacked(sent.body, coding.encode(), 1 << 20) == large.body
        assert f"Content-Encoding: {coding}" in sent.headers


def test_the_cost_of_a_request_is_estimated_from_its_size_and_earlier_requests() -> None:
    cost = Cost((Tensor(name="X", datatype="FP32", shape=(-1, 20)),))
    assert cost.expected_s(b"", None) == float("inf")
    row = json.dumps({"inputs": [{"name": "X", "shape": [1, 20], "datatype": "FP32", "data": [0.5] * 20}]}).encode()
    cost.learn({"X": np.zeros((1, 20), np.float32)}, 0.001)
    raw = {rows: b"{}" + bytes(80 * rows) for rows in (1, 10, 1000)}
    assert cost.expected_s(row, None) == cost.expected_s(raw[1], 2) == 0.001
    assert cost.expected_s(raw[10], 2) == pytest.approx(0.011)
    cost.learn({"X": np.zeros((1000, 20), np.float32)}, 0.002)
    assert cost.expected_s(raw[1000], 2) == pytest.approx(0.002)


def test_a_large_raw_request_of_a_slow_model_is_expected_to_be_slow() -> None:
    endpoint = endpoint_of(slot_of())
    post(endpoint, {"inputs": [tensor()]})
    head = b'{"inputs":[]}'
    small, large = (Request("POST", INFER, head + bytes(12 * rows), len(head)) for rows in (1, 100_000))
    assert endpoint.expected_s(small) < 0.002 < endpoint.expected_s(large)
    assert endpoint.expected_s(Request("GET", "/v2/health/live")) == 0.0


def test_a_long_list_is_parsed_in_slices_with_the_same_result() -> None:
    wide = Tensor(name="X", datatype="FP32", shape=(-1,))
    numbers = [round(at / 7, 3) for at in range(100_000)]

    class Echo:
        def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
            return [inputs["X"]]

    endpoint = endpoint_of(slot_of(Echo(), inputs=(wide,)))
    status, told = post(endpoint, {"inputs": [tensor(shape=[100_000], data=numbers)]})
    assert (status, np.allclose(told["outputs"][0]["data"], numbers)) == (200, True)
    whole = json.dumps({"inputs": [tensor(shape=[100_000], data=numbers)]})
    for broken in (whole.replace("]}]}", ",]}]}"), whole.replace("[0.0", "[,0.0"), whole.replace(", 7.0,", ", ,7.0,")):
        assert post(endpoint, broken.encode())[0] == 400
    missing = whole.replace(" 7.0,", " null,").encode()
    assert post(endpoint, missing)[1]["outputs"][0]["data"][49] is None
    assert post(endpoint, whole.replace(" 7.0,", ' "7",').encode())[0] == 400
