"""Usual HTTP clients: requests of Java, curl, Node, ApacheBench and browsers, also compressed and cancelled ones.

A missing program is skipped by name; its requests are also sent as raw bytes.
"""

import gzip
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from agent.adapters.http.server import HttpServer
from agent.config import ServingConfig
from agent.core.model import Assignment
from agent.ports import Array, Inputs, Stop
from agent.serving.oip import Endpoint
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from tests.integration.test_serving_http import BODY, INFER, asked, connect, read_all, request, serve

JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int turn = 0; turn < 3; turn++) {
            HttpRequest ask = HttpRequest.newBuilder(URI.create(given[0]))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(given[1])).build();
            HttpResponse<String> answer = client.send(ask, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
"""
NODE = """
const [url, body] = process.argv.slice(1);
for (let turn = 0; turn < 3; turn++) {
  const answer = await fetch(url, {method: "POST", body});
  console.log(answer.status, await answer.text());
}
"""
UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    found = serve("127.0.0.1:0", max_body_bytes=64 * 1024, max_connections=8)
    yield found
    found.stop()


def url(server: HttpServer, path: str = INFER) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine")
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_javas_client_with_http2_offers_is_answered(server: HttpServer, tmp_path: Path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    lines = run("java", str(source), url(server), BODY.decode()).splitlines()
    assert [line.split()[0] for line in lines] == ["200"] * 3
    assert '"model_version":"3"' in lines[0]


def test_curl_with_http2_is_answered(server: HttpServer) -> None:
    for how in ("--http2", "--http1.1", "--http1.0"):
        told = run("curl", "-s", how, "--max-time", "10", "-d", BODY.decode(), url(server))
        assert json.loads(told)["model_name"] == "plant", how


def test_nodes_client_is_answered(server: HttpServer) -> None:
    lines = run("node", "--input-type=module", "-e", NODE, url(server), BODY.decode()).splitlines()
    assert [line.split()[0] for line in lines] == ["200"] * 3


def test_an_offer_of_another_protocol_is_ignored_and_the_connection_continues(server: HttpServer) -> None:
    with connect(server) as connection:
        offers = request(BODY, INFER, *UPGRADE) + request(BODY, INFER, "Upgrade: websocket", "Connection: Upgrade")
        bare = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n" + "\r\n".join(UPGRADE).encode() + b"\r\n\r\n"
        connection.sendall(offers + bare + request(BODY, INFER, "Connection: close"))
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 4


def test_an_offer_that_arrives_in_pieces_is_ignored(server: HttpServer) -> None:
    with connect(server) as connection:
        for byte in request(BODY, INFER, *UPGRADE):
            connection.sendall(bytes([byte]))
        connection.sendall(request(BODY, INFER, "Connection: close"))
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 2


def test_a_tunnel_is_refused_and_closed(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"CONNECT model.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n\x16\x03\x01")
        assert read_all(connection).startswith(b"HTTP/1.1 404 ")


def test_apachebench_keeps_its_connection_only_if_it_requests_that(server: HttpServer) -> None:
    raw = request(BODY, INFER, "Connection: Keep-Alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(raw)
            assert b"Connection: keep-alive\r\n" in connection.recv(65536)
        connection.sendall(request(BODY, INFER).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert b"Connection: close\r\n" in read_all(connection)


def test_head_sends_the_length_and_no_body(server: HttpServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for path in ("/v2/models/plant", "/v2/health/ready", "/v2/none", "/v2/models/plant"):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert int(answer.headers["Content-Length"]) > 0
        assert answer.read() == b""
    connection.close()


def test_options_and_a_wrong_method_get_the_allowed_methods(server: HttpServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for method, path, status in (
        ("OPTIONS", INFER, 204),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
        ("PUT", "/x", 404),
    ):
        connection.request(method, path, BODY if method == "POST" else None)
        answer = connection.getresponse()
        assert (answer.status, "Allow" in answer.headers) == (status, status != 404)
        answer.read()
    connection.close()


def test_a_browsers_preflight_is_answered_for_allowed_pages_and_the_page_may_read_the_answer() -> None:
    server = serve("127.0.0.1:0", origins=("http://dashboard.local:3000",))
    page = "Origin: http://dashboard.local:3000"
    asks = f"OPTIONS {INFER} HTTP/1.1\r\nHost: localhost\r\n{page}\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    try:
        with connect(server) as connection:
            connection.sendall(asks.encode() + request(BODY, INFER, page, "Connection: close"))
            preflight, _, answer = read_all(connection).partition(b"\r\n\r\n")
        assert preflight.startswith(b"HTTP/1.1 204 ")
        assert b"Access-Control-Allow-Headers: Content-Type, " in preflight
        for told in (preflight, answer):
            assert b"Access-Control-Allow-Origin: http://dashboard.local:3000\r\n" in told + b"\r\n"
    finally:
        server.stop()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_compresses_requests_and_decompresses_responses(
    server: HttpServer, algorithm: str, binary: bool
) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    found = client.infer(
        "plant",
        asked(2.0, binary=binary),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert found.as_numpy("label").ravel().tolist() == [1]
    client.close()


def test_a_large_response_is_compressed_for_a_client_that_requests_it(server: HttpServer) -> None:
    rows = [1.0] * 20_000
    body = json.dumps({"inputs": [{"name": "X", "shape": [20_000, 1], "datatype": "FP32", "data": rows}]}).encode()
    packed = gzip.compress(body)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    connection.request("POST", INFER, packed, headers)
    answer = connection.getresponse()
    told = answer.read()
    if len(body) > 64 * 1024:
        assert (answer.status, b"serving.max_body_bytes" in told) == (413, True)
    connection.request("POST", INFER, gzip.compress(body.replace(b"1.0", b"1").replace(b" ", b"")), headers)
    answer = connection.getresponse()
    told = answer.read()
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert json.loads(gzip.decompress(told))["outputs"][0]["data"] == [1] * 20_000
    connection.close()


def test_a_decompression_bomb_is_refused_and_the_next_client_is_served(server: HttpServer) -> None:
    with connect(server) as connection:
        bomb = gzip.compress(b"[" * (8 << 20))
        connection.sendall(request(bomb, INFER, "Content-Encoding: gzip", "Connection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert run("curl", "-s", "--max-time", "10", url(server, "/v2/health/live")) == '{"live":true}'


class Slow:
    """A slow model that can be stopped, as onnxruntime can."""

    def __init__(self) -> None:
        self.began, self.leave = threading.Semaphore(0), threading.Event()
        self.runs, self.over, self.ended = 0, 0, 0

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        self.runs += 1
        self.began.release()
        ended = threading.Event()
        if stop is not None:
            stop.ends_by(lambda: (ended.set(), self.leave.set())[0])
        self.leave.wait(10)
        self.over += 1
        if ended.is_set():
            self.ended += 1
            raise RuntimeError("Exiting due to terminate flag")
        return [np.zeros((1, 1), np.int64)]


@pytest.fixture
def slow() -> Iterator[tuple[HttpServer, Slow, ModelSlot]]:
    """A server whose one inference thread is slow."""
    from firmware_sim.real_models import make_real_model

    session, manifest = Slow(), make_real_model(3, "good").manifest
    slot = ModelSlot("plant", perf_s=time.perf_counter, lock=threading.Lock())
    assignment = Assignment(model="plant", generation=1, manifest=manifest, policy=TrialPolicy())
    slot.swap(slot.prepare(assignment, session))
    statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
    config = ServingConfig(listen="127.0.0.1:0", threads=1)
    server = HttpServer(Endpoint(lambda: {"plant": slot}, statistics, version="1"), config)
    server.start()
    yield server, session, slot
    session.leave.set()
    server.stop()


def wait_until(holds: Any) -> bool:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())


def test_requests_of_a_disconnected_client_are_not_computed(slow: tuple[HttpServer, Slow, ModelSlot]) -> None:
    server, session, slot = slow
    running, waiting = connect(server), connect(server)
    running.sendall(request())
    assert session.began.acquire(timeout=5)
    waiting.sendall(request())
    time.sleep(0.1)
    waiting.close()
    assert wait_until(lambda: len(server._serving.connections) == 1)
    running.close()
    assert wait_until(lambda: session.ended == 1)
    assert session.runs == 1, "the waiting request was never started"
    assert slot.serving is not None
    assert slot.serving.observed.judged_inferences.errors == 0
    told = slot.take_tally()
    assert told is not None
    assert (told.inferences, told.refused) == (0, {"request_cancelled": 2})


def test_a_client_that_has_sent_further_requests_and_left_is_not_computed_for(
    slow: tuple[HttpServer, Slow, ModelSlot],
) -> None:
    server, session, _ = slow
    connection = connect(server)
    connection.sendall(request())
    assert session.began.acquire(timeout=5)
    connection.sendall(request() + request())
    time.sleep(0.1)
    connection.close()
    assert wait_until(lambda: session.ended == 1)
    assert wait_until(lambda: not server._serving.connections)
    assert session.runs == 1


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        (("Content-Length: 99999999",), b"", "message_too_large"),
        (("Content-Encoding: br",), b"", "request_invalid"),
        (("Content-Encoding: gzip", "Content-Length: 4"), b"none", "request_invalid"),
    ],
)
def test_a_request_that_is_refused_unread_is_counted_for_its_model(
    slow: tuple[HttpServer, Slow, ModelSlot], headers: tuple[str, ...], body: bytes, code: str
) -> None:
    server, _, slot = slow
    with connect(server) as connection:
        connection.sendall("\r\n".join((f"POST {INFER} HTTP/1.1", "Host: localhost", *headers, "", "")).encode() + body)
        assert connection.recv(100).split(b" ")[1] in (b"413", b"415", b"400")
    assert slot.versions[0].observed.failed == {("refused", code): 1}
    ((_, statistics),) = server._serving.endpoint._statistics.versions.items()
    assert (statistics.requests, statistics.failures) == (0, 1)


def test_a_timeout_ends_a_running_inference(slow: tuple[HttpServer, Slow, ModelSlot]) -> None:
    server, session, _ = slow
    body = json.dumps(json.loads(BODY) | {"parameters": {"timeout": 100_000}}).encode()
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(request(body, INFER, "Connection: close"))
        told = read_all(connection)
    assert (told.split(b" ")[1], b"timeout of 100000 us is over" in told) == (b"503", True)
    assert (session.ended, time.monotonic() - began < 5) == (1, True)


def test_health_is_answered_while_a_large_raw_request_is_computed(slow: tuple[HttpServer, Slow, ModelSlot]) -> None:
    server, session, slot = slow
    assert slot.serving is not None
    slot.serving.cost.learn({"X": np.zeros((1, 1), np.float32)}, 1e-5)
    rows = np.zeros((4096, 1), np.float32).tobytes()
    given = {"name": "X", "shape": [4096, 1], "datatype": "FP32", "parameters": {"binary_data_size": len(rows)}}
    head = json.dumps({"inputs": [given]}).encode()
    with connect(server) as connection:
        connection.sendall(request(head + rows, INFER, f"Inference-Header-Content-Length: {len(head)}"))
        assert session.began.acquire(timeout=5)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as other:
            other.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in read_all(other)
        assert session.over == 0, "the inference was still being computed"
