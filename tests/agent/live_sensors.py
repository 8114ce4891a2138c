"""A device's sensors and sinks on real threads, for tests of faults that they must survive."""

import http.server
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.sensors import sinks, supervisor
from agent.adapters.sensors.pipelines import Pipelines
from agent.config import (
    Config,
    Device,
    Sensor,
)
from agent.ports import Sample
from agent.serving.slot import ModelSlot, Prediction
from contract.errors import BadInput, Code


class NoLink:
    def publish(self, *_: object, **__: object) -> None:
        pass

    def subscribe(self, *_: object, **__: object) -> None:
        pass


class Sensors:
    """A device's sensors over a slot that answers every row with an x."""

    def __init__(self, directory: Path, *sensor: Sensor, **parts: Any) -> None:
        self.slot = ModelSlot("m", perf_s=time.perf_counter, lock=nullcontext())
        self.slot.predict = lambda sample: self._predict(sample)  # type: ignore[method-assign]
        self.answered: list[Any] = []
        config = Config(device=Device(name="d"), sensor=sensor, **parts)
        self.dropped: Counter[str] = Counter()
        link: Any = NoLink()
        self.pipelines = Pipelines(
            config, directory / "agent.toml", link=link, dropped=self.dropped, slot=lambda _: self.slot
        )

    def _predict(self, sample: Sample) -> Prediction:
        if "x" not in sample.values or sample.values["x"] is None:
            raise BadInput(Code.SAMPLE_INVALID, "column 'x' is not there")
        self.answered.append(sample.values["x"])
        return Prediction("m", 1, str(sample.values["x"]), 1.0, row=sample)

    @property
    def sensor(self) -> Any:
        return self.pipelines.lives()[0][0]


def taken(device: "Sensors") -> tuple[int, int]:
    sink = device.pipelines.lives()[1][0]
    return sink.delivered, sink.undelivered


def until(true: Callable[[], object], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "the condition was never true"
        time.sleep(0.01)


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers: list[int] = self.server.answers  # type: ignore[attr-defined]
        status = answers.pop(0) if answers else 200
        self.server.came.append((dict(self.headers), body, status))  # type: ignore[attr-defined]
        if status == 0:
            self.wfile.write(b"rubbish, and no HTTP\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sources and sinks retry soon."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "MAX_PAUSE_S", 0.05)
    monkeypatch.setattr(sinks, "FIRST_PAUSE_S", 0.01)
