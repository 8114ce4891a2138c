"""The agent's HTTP server on real sockets, with Triton's own client library and with hostile clients."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from agent.adapters.http.connection import HEAD_S
from agent.adapters.http.server import SWEEP_S, HttpServer
from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.config import ServingConfig
from agent.core.model import Assignment
from agent.serving.oip import Endpoint
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from firmware_sim.real_models import make_real_model

BODY = json.dumps({"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [2.0]}]}).encode()
INFER = "/v2/models/plant/infer"
REFUSED = 0
CROWD = """
import socket, sys
for _ in range(int(sys.argv[2]) // 100):
    held = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) for _ in range(100)]
    for connection in held:
        connection.close()
"""
"""A script that opens and closes connections, 100 at a time."""
CONNECTIONS = int(os.environ.get("EDGEWARD_TEST_CONNECTIONS", "1000"))
"""How many connections the script opens. 10,000 take two minutes on a slow machine; that was run by hand."""


def serve(listen: str, **limits: Any) -> HttpServer:
    made = make_real_model(3, "good")
    slot = ModelSlot("plant", perf_s=time.perf_counter, lock=threading.Lock())
    assignment = Assignment(model="plant", generation=1, manifest=made.manifest, policy=TrialPolicy())
    slot.swap(slot.prepare(assignment, OnnxSession(made.artifact, made.manifest)))
    statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
    server = HttpServer(
        Endpoint(lambda: {"plant": slot}, statistics, version="1"), ServingConfig(listen=listen, **limits)
    )
    server.start()
    return server


@pytest.fixture
def server() -> Iterator[HttpServer]:
    found = serve("127.0.0.1:0", max_body_bytes=64 * 1024, max_connections=8)
    yield found
    found.stop()


@pytest.fixture
def client(server: HttpServer) -> Iterator[triton.InferenceServerClient]:
    found = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield found
    found.close()


def asked(value: float, *, binary: bool) -> list[triton.InferInput]:
    tensor = triton.InferInput("X", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.array([[value]], dtype=np.float32), binary_data=binary)
    return [tensor]


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


def request(body: bytes = BODY, path: str = INFER, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


def ask(server: HttpServer) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("POST", INFER, BODY)
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return REFUSED
    finally:
        connection.close()


def ask_until_served(server: HttpServer) -> int:
    """Returns the status; asks again for up to 5 s: the server notices a moment later that clients have gone."""
    deadline = time.monotonic() + 5
    while (status := ask(server)) != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def test_tritons_client_finds_the_server_alive_and_the_model_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("plant")
    assert client.is_model_ready("plant", "3")
    assert not client.is_model_ready("plant", "4")


def test_tritons_client_reads_metadata_and_the_index(client: triton.InferenceServerClient) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("plant")["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 1]}]
    assert client.get_model_repository_index() == [{"name": "plant", "version": "3", "state": "READY", "reason": ""}]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_tritons_client_infers_in_json_and_in_bytes(
    client: triton.InferenceServerClient, binary: bool, wanted: bool
) -> None:
    outputs = [triton.InferRequestedOutput("label", binary_data=wanted)]
    for value, label in ((2.0, 1), (-2.0, 0)):
        found = client.infer("plant", asked(value, binary=binary), outputs=outputs, request_id="r1")
        assert found.as_numpy("label").ravel().tolist() == [label]
        assert found.get_response()["id"] == "r1"


def test_tritons_client_reads_statistics(client: triton.InferenceServerClient) -> None:
    client.infer("plant", asked(1.0, binary=True))
    (told,) = client.get_inference_statistics("plant")["model_stats"]
    assert (told["name"], told["inference_count"], told["inference_stats"]["success"]["count"]) == ("plant", 1, 1)


def test_tritons_client_gets_the_name_of_the_wrong_field(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("X", [1, 1], "INT64")
    tensor.set_data_from_numpy(np.array([[1]]), binary_data=True)
    with pytest.raises(InferenceServerException, match="datatype: 'INT64', the model takes FP32"):
        client.infer("plant", [tensor])
    with pytest.raises(InferenceServerException, match="signed rollouts"):
        client.unload_model("plant")


def test_a_unix_socket_serves_and_replaces_the_socket_of_a_dead_server(tmp_path: Path) -> None:
    path = tmp_path / "serving.sock"
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).bind(str(path))
    server = serve(f"unix:{path}")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            connection.sendall(request(BODY, INFER, "Connection: close"))
            assert read_all(connection).startswith(b"HTTP/1.1 200 OK")
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(WorldError) as caught:
            serve(f"unix:{path}")
        assert caught.value.code == Code.PORT_TAKEN
    finally:
        server.stop()


def test_pipelined_requests_are_answered_in_their_order(server: HttpServer) -> None:
    bodies = [json.loads(BODY) | {"id": str(number)} for number in range(40)]
    with connect(server) as connection:
        everything = b"".join(request(json.dumps(body).encode()) for body in bodies)
        connection.sendall(everything + request(BODY, INFER, "Connection: close"))
        found = read_all(connection)
    ids = [part.split(b'"')[0].decode() for part in found.split(b'"id":"')[1:]]
    assert ids == [str(number) for number in range(40)]


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n".encode())
        found = read_all(connection)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b"serving.max_body_bytes" in found
    assert ask(server) == 200


def test_a_chunked_body_that_never_ends_is_cut_off(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(9):
            connection.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        found = read_all(connection)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert ask(server) == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01 this is not http\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 6_000 + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (request(BODY, INFER, "Content-Encoding: br"), b"415"),
        (request(BODY, INFER, "Connection: close", "Inference-Header-Content-Length: 99999"), b"400"),
        (request(BODY, INFER, "Connection: close", "Inference-Header-Content-Length: six"), b"400"),
    ],
)
def test_an_invalid_request_gets_a_status_and_the_next_client_is_served(
    server: HttpServer, raw: bytes, status: bytes
) -> None:
    with connect(server) as connection:
        connection.sendall(raw)
        found = read_all(connection)
    assert found.split(b" ")[1] == status, found
    assert b'{"error":' in found
    assert ask(server) == 200


def test_a_connection_beyond_the_limit_is_refused_and_the_others_are_served(server: HttpServer) -> None:
    held = [connect(server) for _ in range(8)]
    try:
        for connection in held:
            connection.sendall(request())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with connect(server) as extra:
            assert read_all(extra).startswith(b"HTTP/1.1 503 ")
        held[0].sendall(request())
        assert held[0].recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for connection in held:
            connection.close()


def test_many_connections_leave_nothing_behind_and_delay_no_request(server: HttpServer) -> None:
    threads = threading.active_count()
    command = [sys.executable, "-c", CROWD, str(server.port), str(CONNECTIONS)]
    with subprocess.Popen(command) as crowd:
        while crowd.poll() is None:
            assert ask(server) in (200, 503, REFUSED)
    assert crowd.returncode == 0
    assert ask_until_served(server) == 200
    assert threading.active_count() <= threads + ServingConfig().threads, "those that compute are kept"


def test_a_client_that_sends_a_byte_at_a_time_delays_no_request(server: HttpServer) -> None:
    with connect(server) as slow:
        for byte in request()[:40]:
            slow.sendall(bytes([byte]))
            assert ask(server) == 200


@pytest.mark.parametrize(("limit", "sent"), [("HEAD_S", slice(60)), ("REQUEST_S", slice(-1))])
def test_a_client_that_does_not_finish_a_head_or_a_request_in_time_is_cut_off(
    limit: str, sent: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.adapters.http.server.SWEEP_S", 0.05)
    monkeypatch.setattr(f"agent.adapters.http.connection.{limit}", 0.2)
    server = serve("127.0.0.1:0")
    try:
        with connect(server) as slow:
            slow.sendall(request()[sent])
            with suppress(ConnectionResetError):
                assert slow.recv(10) == b""
        assert ask(server) == 200
    finally:
        server.stop()


def test_half_sent_heads_do_not_keep_a_caller_out(server: HttpServer) -> None:
    with ExitStack() as crowd:
        for number in range(20):
            half = crowd.enter_context(connect(server))
            half.sendall(request()[: 60 if number % 2 else 0])
        started = time.monotonic()
        assert ask(server) == 200, "the oldest half-sent head gave way"
        assert time.monotonic() - started < HEAD_S / 2
    assert (HEAD_S, SWEEP_S) == (5.0, 1.0)


def test_idle_connections_of_answered_clients_stay_open_and_too_many_are_refused(server: HttpServer) -> None:
    with ExitStack() as crowd:
        kept = [crowd.enter_context(connect(server)) for _ in range(8)]
        for each in kept:
            each.sendall(request())
            assert each.recv(65536).startswith(b"HTTP/1.1 200")
        one_more = crowd.enter_context(connect(server))  # it sends nothing: no reset can overtake its answer
        assert read_all(one_more).startswith(b"HTTP/1.1 503")
        kept[0].sendall(request())
        assert kept[0].recv(65536).startswith(b"HTTP/1.1 200")


def test_a_slow_inference_does_not_delay_other_requests(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.adapters.http.connection.INLINE_JSON_BYTES", 1000)
    entered, leave = threading.Event(), threading.Event()
    answer = Endpoint.answer

    def slow_if_large(self: Endpoint, asked: object) -> object:
        if len(asked.body) > 1000:  # type: ignore[attr-defined]
            entered.set()
            leave.wait(5)
        return answer(self, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Endpoint, "answer", slow_if_large)
    with connect(server) as connection:
        connection.sendall(request(BODY + b" " * 2000))
        assert entered.wait(5)
        assert ask(server) == 200
        leave.set()
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_used_port_is_named(server: HttpServer) -> None:
    with pytest.raises(WorldError) as caught:
        serve(f"127.0.0.1:{server.port}")
    assert (caught.value.code, str(server.port) in caught.value.detail) == (Code.PORT_TAKEN, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Host: evil.example",), b"421"),
        (("Host: localhost.evil.example:80",), b"421"),
        (("Host: 127.0.0.1", "Origin: https://evil.example"), b"403"),
        (("Host: localhost:8000", "Origin: null"), b"403"),
        (("Host: localhost:8000", "Origin: http://localhost:8000"), b"200"),
        (("Host: [::1]:8000",), b"200"),
        (("Host: pi-7.local", "Origin: http://dashboard.local:3000"), b"200"),
        ((), b"200"),
    ],
)
def test_a_web_page_reaches_no_model_by_dns_rebinding_or_across_sites(headers: tuple[str, ...], status: bytes) -> None:
    server = serve("127.0.0.1:0", names=("pi-7.local",), origins=("http://dashboard.local:3000",))
    try:
        with connect(server) as connection:
            lines = [f"POST {INFER} HTTP/1.1", f"Content-Length: {len(BODY)}", "Connection: close", *headers]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + BODY)
            assert read_all(connection).split(b" ")[1] == status
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Host: anything",), b"200"),
        (("Host: anything", "Origin: https://evil.example"), b"403"),
        (("Host: evil.example", "Origin: http://evil.example"), b"403"),
        (("Host: anything", "Origin: http://dashboard.local:3000"), b"200"),
    ],
)
def test_a_web_page_reaches_no_model_through_a_proxy_before_a_unix_socket(
    tmp_path: Path, headers: tuple[str, ...], status: bytes
) -> None:
    server = serve(f"unix:{tmp_path / 'serving.sock'}", origins=("http://dashboard.local:3000",))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "serving.sock"))
            lines = [f"POST {INFER} HTTP/1.1", f"Content-Length: {len(BODY)}", "Connection: close", *headers]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + BODY)
            assert read_all(connection).split(b" ")[1] == status
    finally:
        server.stop()


def test_endless_large_bodies_are_refused_beyond_a_total_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.adapters.http.connection.HELD_BYTES", 1000)
    server = serve("127.0.0.1:0", max_body_bytes=64 * 1024)
    held = [connect(server) for _ in range(4)]
    half = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n".encode() + b" " * 65_000
    try:
        for connection in held:
            connection.sendall(half)
        time.sleep(0.3)
        with connect(server) as extra:
            extra.sendall(half)
            assert read_all(extra).startswith(b"HTTP/1.1 503 ")
        assert ask(server) == 200
    finally:
        for connection in held:
            connection.close()
        server.stop()
