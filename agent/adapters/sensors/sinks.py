"""Sinks: the receivers of predictions. Each sends a batch of JSON lines, and raises OSError or ValueError on failure.

Decides retries, and when a batch is dropped. A failing sink never delays the sensor, because its outbox is bounded.
Refuses to know which model answered.
"""

import logging
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.config import FileSink, TopicSink, WebhookSink
from agent.ports import Link
from agent.serving.outbox import Outbox
from agent.serving.slot import Prediction

RETRIES = 3
FIRST_PAUSE_S = 0.5
TIMEOUT_S = 5.0

_log = logging.getLogger("edgeward.agent")
Deliver = Callable[[list[bytes]], None]


class Sink(Protocol):
    """The interface of a sink to a sensor's thread."""

    def put(self, prediction: Prediction) -> None:
        """Takes one prediction; never blocks."""
        ...


class SinkThread:
    """One sink with its outbox, and a thread that empties the outbox."""

    def __init__(
        self, config: FileSink | TopicSink | WebhookSink, beside: Path, link: Link, dropped: Counter[str]
    ) -> None:
        self._deliver = _delivery(config, beside, link)
        self._outbox = Outbox(config.batch, config.batch_s, dropped, threading.Condition())
        self._dropped = dropped
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{config.__class__.__name__}", daemon=True)
        self._thread.start()

    def put(self, prediction: Prediction) -> None:
        """Takes one prediction; never blocks."""
        self._outbox.put(prediction, time.monotonic(), time.time())

    def close(self) -> None:
        """Sends the waiting predictions once, and ends the thread."""
        self._stopping.set()
        self._outbox.close()
        self._thread.join(timeout=TIMEOUT_S)

    def _run(self) -> None:
        while (lines := self._outbox.take(time.monotonic)) is not None:
            if not self._delivered(lines):
                self._dropped["predictions_undelivered"] += len(lines)

    def _delivered(self, lines: list[bytes]) -> bool:
        for attempt in range(1 + RETRIES):
            try:
                self._deliver(lines)
            except (OSError, ValueError) as error:
                _log.warning("sink: %s", error)
                if self._stopping.wait(FIRST_PAUSE_S * 2**attempt):
                    return False
            else:
                return True
        return False


def _delivery(config: FileSink | TopicSink | WebhookSink, beside: Path, link: Link) -> Deliver:
    match config:
        case FileSink(path=path, max_bytes=max_bytes):
            return lambda lines: _append(beside.parent / path, lines, max_bytes)
        case TopicSink(topic=topic):
            return lambda lines: link.publish(topic, _joined(lines))
        case WebhookSink(url=url):
            return lambda lines: _post(url, b"[" + b",".join(lines) + b"]")


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines)


def _append(path: Path, lines: list[bytes], max_bytes: int) -> None:
    """Appends lines. If the file would become too large, it is first renamed to ``NAME.1``, which replaces an older
    one.
    """
    data = _joined(lines) + b"\n"
    if path.exists() and path.stat().st_size + len(data) > max_bytes:
        path.replace(path.with_name(f"{path.name}.1"))
    with path.open("ab") as file:
        file.write(data)


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - config.py lets only http and https pass
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        answer.read(1024)
