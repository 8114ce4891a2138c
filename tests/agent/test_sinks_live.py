"""Sinks survive every fault of their receivers, and send no more than may leave the device."""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.sensors import sinks
from agent.adapters.sensors import webhook as webhook_module
from agent.adapters.sensors.sinks import SinkThread
from agent.config import (
    Capture,
    FileSink,
    ReplaySensor,
    WebhookSink,
)
from agent.serving.slot import Prediction
from tests.agent.live_sensors import Hook, NoLink, Sensors, shorten_pauses, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


@pytest.fixture
def hook() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.came, server.answers = [], []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def webhook(hook: Any, directory: Path = Path(), **changes: Any) -> SinkThread:
    config = WebhookSink(url=f"http://127.0.0.1:{hook.server_port}/x", **changes)
    return SinkThread(config, directory / "agent.toml", NoLink(), Counter())  # type: ignore[arg-type]


def test_a_webhook_with_invalid_answers_is_retried_and_its_thread_keeps_running(hook: Any) -> None:
    hook.answers[:] = [0, 0]
    sink = webhook(hook)
    sink.put(Prediction("m", 1, "a", 1.0))
    until(lambda: sink.life.delivered == 1)
    assert (sink.life.failures, sink.life.state) == (2, "running")
    assert "BadStatusLine" in sink.life.error
    ids = {headers["User-Agent"] for headers, _, _ in hook.came}
    assert ids == {"edgeward-agent"}


def test_a_slow_answer_delays_a_sink_no_longer_than_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sinks, webhook_module):
        monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(sinks, "RETRIES", 0)
    dripping = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 200 ")
        while not dripping.wait(0.05):
            try:
                client.sendall(b"O")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        config = WebhookSink(url=f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        sink = SinkThread(config, Path("agent.toml"), NoLink(), Counter())  # type: ignore[arg-type]
        sink.put(Prediction("m", 1, "a", 1.0))
        until(lambda: sink.life.undelivered == 1)
        dripping.set()
    assert "TimeoutError" in sink.life.error


@pytest.mark.parametrize(("status", "attempts"), [(400, 1), (404, 1), (410, 1), (302, 1), (429, 2), (503, 2)])
def test_a_batch_that_a_webhook_refuses_is_not_sent_again_and_a_postponed_one_is(
    hook: Any, status: int, attempts: int
) -> None:
    hook.answers[:] = [status]
    sink = webhook(hook)
    sink.put(Prediction("m", 1, "a", 1.0))
    until(lambda: sink.life.delivered + sink.life.undelivered == 1)
    sink.put(Prediction("m", 1, "b", 1.0))
    until(lambda: sink.life.delivered + sink.life.undelivered == 2)
    assert len(hook.came) == attempts + 1
    assert sink.life.undelivered == 2 - attempts
    assert str(status) in sink.life.error


def test_a_webhook_gets_headers_token_and_a_signature_that_a_receiver_can_check(hook: Any, tmp_path: Path) -> None:
    key = b"0123456789abcdef01234567"
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(key).decode()}\n")
    hook.answers[:] = [500]
    sink = webhook(hook, tmp_path, headers={"X-Plant": "7"}, token_file="token", secret_file="secret")
    sink.put(Prediction("m", 1, "a", 1.0))
    until(lambda: sink.life.delivered == 1)
    (first, body, _), (again, _, _) = hook.came
    assert (first["X-plant"] if "X-plant" in first else first["X-Plant"]) == "7"
    found = {name.lower(): value for name, value in first.items()}
    assert found["authorization"] == "Bearer t0ken"
    signed = f"{found['webhook-id']}.{found['webhook-timestamp']}.".encode() + body
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert found["webhook-signature"] == f"v1,{proof}"
    assert abs(int(found["webhook-timestamp"]) - time.time()) < 60
    assert {name.lower(): value for name, value in again.items()}["webhook-id"] == found["webhook-id"]


def test_an_unreadable_token_does_not_end_the_thread(hook: Any, tmp_path: Path) -> None:
    sink = webhook(hook, tmp_path, token_file="none")
    sink.put(Prediction("m", 1, "a", 1.0))
    until(lambda: sink.life.undelivered == 1)
    (tmp_path / "none").write_text("now")
    sink.put(Prediction("m", 1, "b", 1.0))
    until(lambda: sink.life.delivered == 1)


def test_an_answer_that_cannot_be_encoded_loses_only_its_own_line(tmp_path: Path) -> None:
    sink = SinkThread(FileSink(path="out"), tmp_path / "agent.toml", NoLink(), Counter())  # type: ignore[arg-type]
    sink.put(Prediction("m", 1, "\ud800", 1.0))
    sink.put(Prediction("m", 1, "b", 1.0))
    sink.close()
    assert [json.loads(line)["value"] for line in (tmp_path / "out").read_bytes().splitlines()] == ["b"]
    assert (sink.life.delivered, sink.life.told(0.0).undelivered, sink.life.state) == (1, 1, "ended")


def test_a_line_of_a_sink_names_its_row_and_may_contain_private_columns(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,who,secret\n1,Ann,s\n")
    sink = FileSink(path="out", inputs=("x", "secret"))
    sensor = ReplaySensor(model="m", path="rows.csv", rate_hz=1000.0, key="who", sink=sink)
    device = Sensors(tmp_path, sensor, capture=(Capture(model="m", remove=("secret",)),))
    until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size)
    device.pipelines.close()
    (line,) = (json.loads(each) for each in (tmp_path / "out").read_bytes().splitlines())
    assert (line["key"], line["inputs"], line["release"], line["value"]) == ("Ann", {"x": "1"}, 1, "1")


def test_a_private_key_is_in_no_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,who\n1,Ann\n")
    sensor = ReplaySensor(model="m", path="rows.csv", rate_hz=1000.0, key="who", sink=FileSink(path="out"))
    device = Sensors(tmp_path, sensor, capture=(Capture(model="m", remove=("who",)),))
    until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size)
    device.pipelines.close()
    assert b"Ann" not in (tmp_path / "out").read_bytes()
