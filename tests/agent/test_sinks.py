"""Where predictions go: batches by count and time, bounded; real files, a real webhook."""

import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.sensors import sinks
from agent.adapters.sensors.sinks import SinkThread
from agent.config import FileSink, TopicSink, WebhookSink
from agent.serving.outbox import MAX_WAITING, Outbox
from agent.serving.slot import Prediction


def prediction(number: int) -> Prediction:
    return Prediction("plant", 3, str(number), 5.0)


def outbox(batch: int = 3, batch_s: float = 10.0) -> tuple[Outbox, Counter[str]]:
    dropped: Counter[str] = Counter()
    return Outbox(batch, batch_s, dropped, threading.Condition()), dropped


class NoLink:
    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, **_: Any) -> None:
        self.said.append((topic, payload))


def values(raw: bytes) -> list[str]:
    return [json.loads(line)["value"] for line in raw.splitlines()]


def test_a_batch_is_due_when_it_is_full_or_its_oldest_has_waited_long_enough() -> None:
    box, _ = outbox()
    assert box.due_in(0.0) is None
    box.put(prediction(1), 5.0, 0.0)
    box.put(prediction(2), 7.0, 0.0)
    assert (box.due_in(7.0), box.due_in(15.0), box.due_in(99.0)) == (8.0, 0.0, 0.0)
    box.put(prediction(3), 7.0, 0.0)
    assert box.due_in(7.0) == 0.0


def test_a_full_outbox_drops_its_oldest_lines_and_counts_them() -> None:
    box, dropped = outbox(batch=MAX_WAITING)
    for number in range(MAX_WAITING + 5):
        box.put(prediction(number), 0.0, 0.0)
    lines = box.take(lambda: 0.0)
    assert lines is not None
    assert (len(lines), json.loads(lines[0])["value"], dropped) == (MAX_WAITING, "5", {"predictions_dropped": 5})


def test_a_closed_outbox_returns_the_waiting_lines_and_then_nothing() -> None:
    box, _ = outbox()
    box.put(prediction(1), 0.0, 1.5)
    box.close()
    assert box.take(lambda: 0.0) == [b'{"at":1.5,"model":"plant","release":3,"value":"1"}']
    assert box.take(lambda: 0.0) is None


def test_a_file_gets_every_prediction_in_order_and_never_exceeds_twice_its_limit(tmp_path: Path) -> None:
    sink = SinkThread(FileSink(path="out.jsonl", max_bytes=4096, batch=7), tmp_path / "agent.toml", NoLink(), Counter())  # type: ignore[arg-type]
    for number in range(200):
        sink.put(prediction(number))
    sink.close()
    kept = values((tmp_path / "out.jsonl.1").read_bytes()) + values((tmp_path / "out.jsonl").read_bytes())
    assert kept == [str(number) for number in range(200 - len(kept), 200)]
    assert all(path.stat().st_size <= 4096 for path in tmp_path.iterdir())
    assert len(kept) > 60


def test_a_topic_gets_json_lines(tmp_path: Path) -> None:
    link = NoLink()
    sink = SinkThread(TopicSink(topic="plant/out", batch=2), tmp_path / "agent.toml", link, Counter())  # type: ignore[arg-type]
    for number in range(4):
        sink.put(prediction(number))
    sink.close()
    assert [(topic, values(raw)) for topic, raw in link.said] == [("plant/out", ["0", "1"]), ("plant/out", ["2", "3"])]


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any], list[int]]]:
    """Yields (address, received bodies, statuses to answer with before 200)."""
    came: list[Any] = []
    statuses: list[int] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses.pop(0) if statuses else 200
            if status == 200:
                came.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x", came, statuses
        server.shutdown()


def webhook(url: str, dropped: Counter[str], batch: int = 2) -> SinkThread:
    return SinkThread(WebhookSink(url=url, batch=batch), Path("agent.toml"), NoLink(), dropped)  # type: ignore[arg-type]


def test_a_failing_webhook_is_retried_and_loses_no_line(
    hook: tuple[str, list[Any], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "FIRST_PAUSE_S", 0.01)
    url, came, statuses = hook
    statuses += [503, 500]
    dropped: Counter[str] = Counter()
    sink = webhook(url, dropped)
    sink.put(prediction(1))
    sink.put(prediction(2))
    deadline = time.monotonic() + 10
    while not came and time.monotonic() < deadline:
        time.sleep(0.01)
    sink.close()
    assert [entry["value"] for entry in came[0]] == ["1", "2"]
    assert dropped == {}


def test_a_missing_webhook_loses_only_its_own_batch_and_delays_no_other_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "FIRST_PAUSE_S", 0.01)
    dropped: Counter[str] = Counter()
    sink = webhook("http://127.0.0.1:1/x", dropped)
    began = time.monotonic()
    for number in range(2):
        sink.put(prediction(number))
    assert time.monotonic() - began < 5
    deadline = time.monotonic() + 10
    while not dropped and time.monotonic() < deadline:
        time.sleep(0.01)
    sink.close()
    assert dropped == {"predictions_undelivered": 2}
