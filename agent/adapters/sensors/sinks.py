"""Sinks take predictions. Each sends a batch of JSON lines, and raises OSError or ValueError on failure.

Decides retries, and when a batch is dropped. A failing sink never delays the sensor, because its outbox is bounded.
Refuses to know which model answered.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from agent.config import FileSink, TopicSink, WebhookSink
from agent.ports import Link
from agent.serving.lives import SinkLife
from agent.serving.outbox import Outbox
from agent.serving.slot import Prediction

RETRIES = 3
FIRST_PAUSE_S = 0.5
TIMEOUT_S = 5.0
KIND_CHARS = 60
"""The number of first characters of a fault's text that show its kind: the rest differs from batch to batch. Each
kind is logged once."""
MAX_KINDS = 64
"""The most kinds that are logged."""

_log = logging.getLogger("edgeward.agent")
Deliver = Callable[[list[bytes]], None]


class NeverTaken(Exception):
    """The receiver says that it will never accept this batch: the batch is not tried again."""


class Sink(Protocol):
    """The interface of a sink for a sensor's thread."""

    def put(self, prediction: Prediction) -> None:
        """Takes one prediction; never blocks."""
        ...


class SinkThread:
    """One sink with its outbox, and a thread that empties the outbox."""

    def __init__(
        self,
        config: FileSink | TopicSink | WebhookSink,
        beside: Path,
        link: Link,
        dropped: Counter[str],
        *,
        number: int = 1,
        removed: Collection[str] = (),
        with_key: bool = True,
    ) -> None:
        columns = [column for column in config.inputs if column not in removed]
        kind = str(type(config).__struct_config__.tag)
        self.life = SinkLife(f"{kind}-{number}", kind)
        self._deliver = _delivery(config, beside, link)
        self._outbox = Outbox(config.batch, config.batch_s, dropped, threading.Condition(), columns, with_key=with_key)
        self._dropped = dropped
        self._said: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{config.__class__.__name__}", daemon=True)
        self._thread.start()

    def put(self, prediction: Prediction) -> None:
        """Takes one prediction; never blocks."""
        try:
            crowded_out = self._outbox.put(prediction, time.monotonic(), time.time())
            self.life.crowded_out += crowded_out
        except Exception as error:  # only this line of this sink is lost: the sensor's thread continues
            self._dropped["predictions_unsayable"] += 1
            self.life.crowded_out += 1
            self._note(error)

    def close(self) -> None:
        """Sends the waiting predictions once, and ends the thread."""
        self._stopping.set()
        self._outbox.close()
        self._thread.join(timeout=TIMEOUT_S)

    def _run(self) -> None:
        self.life.state = "running"
        while (lines := self._outbox.take(time.monotonic)) is not None:
            count = len(lines)
            if self._delivered(lines):
                self.life.took(count, time.perf_counter())
            else:
                self._dropped["predictions_undelivered"] += count
                self.life.undelivered += count
        self.life.state = "ended"

    def _delivered(self, lines: list[bytes]) -> bool:
        for attempt in range(1 + RETRIES):
            try:
                self._deliver(lines)
            except NeverTaken as error:
                self._note(error)
                return False
            except Exception as error:  # the receiver may give any answer; the sink's thread must continue
                self._note(error)
                if attempt < RETRIES and self._stopping.wait(FIRST_PAUSE_S * 2**attempt):
                    return False
            else:
                return True
        return False

    def _note(self, error: Exception) -> None:
        words = str(error) if isinstance(error, NeverTaken) else f"{type(error).__name__}: {error}"
        self.life.failed(words)
        kind = words[:KIND_CHARS]
        if kind not in self._said and len(self._said) < MAX_KINDS:
            self._said.add(kind)
            _log.warning("the sink %s: %s", self.life.name, words[:500])


def _delivery(config: FileSink | TopicSink | WebhookSink, beside: Path, link: Link) -> Deliver:
    match config:
        case FileSink(path=path, max_bytes=max_bytes):
            return lambda lines: _append(beside.parent / path, lines, max_bytes)
        case TopicSink(topic=topic):
            return lambda lines: link.publish(topic, _joined(lines))
        case WebhookSink():
            from agent.adapters.sensors.webhook import Webhook  # most devices have none

            return Webhook(config, beside).deliver


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
