"""Many faults in minutes: rotated files, lost ports, damaged pictures, too many messages, wrong answers of receivers.

Real files, pseudo-terminals, sockets and threads. Every thread keeps running, and every row is counted.
"""

import http.server
import json
import os
import pty
import socket
import threading
import time
import tty
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.adapters.sensors import followed, sinks, webhook
from agent.config import FileSink, ImagesSensor, ReplaySensor, SerialSensor, TopicSensor, TopicSink, WebhookSink
from agent.ports import Sample
from agent.serving.slot import Prediction
from contract.errors import BadInput, Code
from tests.agent.live_sensors import Sensors, shorten_pauses, until

MINUTES = 24 * 60
PATIENCE_S = 60.0
TIMEOUT_S = 0.3


class LyingReceiver(http.server.BaseHTTPRequestHandler):
    """A webhook that accepts a batch, or sends an invalid answer, an error, nothing, or single bytes."""

    def do_POST(self) -> None:
        body, server = self.rfile.read(int(self.headers["Content-Length"])), self.server
        kind = server.rng.choice(server.kinds)  # type: ignore[attr-defined]
        server.met[kind] += 1  # type: ignore[attr-defined]
        if kind == "takes":
            server.took.extend(each["key"] for each in json.loads(body))  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            return
        self.close_connection = True
        match kind:
            case "rubbish":
                self.wfile.write(b"\x00\xff rubbish, and no HTTP\r\n\r\n")
            case "endless":
                self._send_slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            case "drips":
                self._send_slowly(b"HTTP/1.1 200 O" + b"K" * 100)
            case "hangs":
                time.sleep(2 * TIMEOUT_S)
            case "closes":
                self.connection.shutdown(socket.SHUT_RDWR)
            case int():
                self.send_response(kind)
                if kind == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

    def _send_slowly(self, raw: bytes) -> None:
        until = time.monotonic() + 4 * TIMEOUT_S
        for byte in raw:
            if time.monotonic() > until:
                return
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(TIMEOUT_S / 4)

    def log_message(self, *_: object) -> None:
        pass


KINDS = ("takes",) * 12 + ("rubbish", "endless", "drips", "hangs", "closes", 500, 503, 429, 302, 404, 410)


@contextmanager
def lying_receiver() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), LyingReceiver) as server:
        server.rng, server.kinds, server.took, server.met = Random(3), KINDS, [], Counter()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


BAD = (b"nonsense", b"\xff\xfe", b'{"x": null}', b'{"key": "k"}', b"[1]", b'{"x": 1', b"9" * 70_000)


class Truth:
    """The rows sent to one sensor: good rows by key, and the number of bad ones."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = Random(seed)
        self.good: list[str] = []
        self.bad = 0

    def line(self) -> bytes:
        """Returns the next row as JSON; one in five is bad."""
        if self.rng.random() < 0.2:
            self.bad += 1
            return self.rng.choice(BAD)
        self.good.append(f"{self.name}-{len(self.good)}")
        return json.dumps({"x": self.rng.random(), "key": self.good[-1]}).encode()


ROTATIONS = ("moved", "moved with half a line", "moved and late", "cut", "cut within a line", "deleted")


class Log(Truth):
    """A file that grows by half lines, is rotated, truncated, deleted, created again, and unreadable for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__("log", 1)
        self.path = path
        self._rotations = 0
        path.touch()

    def minute(self, device: "Device") -> None:
        with self.path.open("ab") as file:
            for _ in range(self.rng.randrange(6)):
                line = self.line() + b"\n"
                at = self.rng.randrange(len(line)) if self.rng.random() < 0.05 else len(line)
                file.write(line[:at])
                file.flush()
                if at < len(line):
                    time.sleep(0.01)
                file.write(line[at:])
        if self.rng.random() < 0.04:
            self._rotate(device)

    def _rotate(self, device: "Device") -> None:
        self._rotations += 1
        aside = self.path.with_name(f"rows.jsonl.{self._rotations}")
        match self.rng.choice(ROTATIONS):
            case "moved":
                self.path.rename(aside)
                self.path.touch()
            case "moved with half a line":
                with self.path.open("ab") as file:
                    file.write(self.line())
                self.path.rename(aside)
                self.path.touch()
            case "moved and late":
                self.path.rename(aside)
                time.sleep(0.05)
                self.path.touch()
            case "cut":
                device.has_read(self)
                os.truncate(self.path, 0)
                device.has_looked()
            case "cut within a line":
                with self.path.open("ab") as file:
                    file.write(b'{"x": 1, "ke')
                device.has_read(self)
                device.has_looked()
                os.truncate(self.path, 0)
                self.bad += 1
                device.has_looked()
            case "deleted":
                device.has_read(self)
                self.path.unlink()
                self.path.touch()
        device.has_looked()  # of a file that comes and goes between two looks nobody knows
        device.has_read(self)


class Port(Truth):
    """A serial port that is unplugged and plugged in again. Nobody knows which bytes were cut off."""

    def __init__(self, link: Path) -> None:
        super().__init__("port", 2)
        self.link = link
        self.cut = 0
        self._plug()

    def _plug(self) -> None:
        self._far, near = pty.openpty()
        tty.setraw(near)
        self._near = near
        fresh = self.link.with_name("fresh")
        fresh.symlink_to(os.ttyname(near))
        fresh.replace(self.link)
        self._begun = False

    def minute(self, device: "Device") -> None:
        if not self._begun:
            until(lambda: device.has_open(os.ttyname(self._near), 2), PATIENCE_S)
            self._write(b"half a line\n")
            self.cut += 1
            self._begun = True
        for _ in range(self.rng.randrange(4)):
            self._write(self.line() + b"\n")
        if self.rng.random() < 0.02:
            device.has_read(self)
            self._pull(device)

    def _pull(self, device: "Device") -> None:
        failures = device.sensor("serial").failures
        if self.rng.random() < 0.5:
            self._write(b'{"x": 1, "ke')
            time.sleep(0.1)
            self.cut += 1
        self.link.unlink()
        os.close(self._near)
        os.close(self._far)
        until(lambda: device.sensor("serial").failures > failures, PATIENCE_S)
        self._plug()

    def _write(self, raw: bytes) -> None:
        while raw:
            raw = raw[os.write(self._far, raw) :]


class Topic(Truth):
    """A topic that sometimes gets too many rows: the oldest ones are dropped and counted."""

    def __init__(self) -> None:
        super().__init__("topic", 4)

    def minute(self, device: "Device") -> None:
        flood = self.rng.random() < 0.003
        for _ in range(1500 if flood else self.rng.randrange(5)):
            assert device.sensors.pipelines.take("t", self.line())


DAMAGED = (b"P5 2", b"", b"P5 2 2 255\n\1")


class Pictures(Truth):
    """A directory with new pictures, good and damaged ones, which is deleted and created again."""

    def __init__(self, directory: Path) -> None:
        super().__init__("pictures", 5)
        self.directory = directory
        directory.mkdir()

    def minute(self, device: "Device") -> None:
        if self.rng.random() < 0.05:
            name = f"{len(self.good) + self.bad}.pgm"
            bad = self.rng.random() < 0.3
            part = self.directory / f"{name}.part"
            part.write_bytes(self.rng.choice(DAMAGED) if bad else b"P5 2 2 255\n\1\2\3\4")
            part.rename(self.directory / name)
            if bad:
                self.bad += 1
            else:
                self.good.append(name)
        if self.rng.random() < 0.005:
            device.has_read(self)
            for path in self.directory.iterdir():
                path.unlink()
            self.directory.rmdir()
            time.sleep(0.05)
            self.directory.mkdir()


class Device:
    """A device with four sensors, three kinds of sinks, and a model that answers rows with an x."""

    def __init__(self, directory: Path, address: str) -> None:
        hook = WebhookSink(url=address, batch=20, batch_s=0.02)
        file = FileSink(path="answers.jsonl", batch=10, batch_s=0.02, max_bytes=1_000_000_000)
        self.sensors = Sensors(
            directory,
            ReplaySensor(model="m", path="rows.jsonl", follow=True, existing=True, key="key", sink=hook),
            SerialSensor(model="m", path="port", key="key", sink=file),
            TopicSensor(model="m", topic="t", key="key", sink=TopicSink(topic="answers", batch=50, batch_s=0.02)),
            ImagesSensor(model="m", path="pictures", width=2, height=2, look_s=0.01, existing=True),
        )
        self.sensors.slot.predict = self._answered  # type: ignore[method-assign]
        self.looks = [0]
        self.keys: dict[str, list[str]] = {"log": [], "port": [], "topic": [], "pictures": []}

    def _answered(self, sample: Sample) -> Prediction:
        if sample.values.get("x", sample.values.get("x0")) is None:
            raise BadInput(Code.SAMPLE_INVALID, "column 'x' is not there")
        name = "pictures" if sample.file else sample.key.partition("-")[0]
        self.keys[name].append(sample.file or sample.key)
        return Prediction("m", 1, "a", 1.0, row=sample)

    def sensor(self, kind: str) -> Any:
        return next(each for each in self.sensors.pipelines.lives()[0] if each.kind == kind)

    @staticmethod
    def has_open(name: str, times: int) -> bool:
        """Returns whether this process has opened a file a number of times."""
        return (
            sum(each.is_symlink() and str(each.readlink()) == name for each in Path("/proc/self/fd").iterdir()) >= times
        )

    def has_sent(self, kind: str, count: int) -> bool:
        found = self.sink(kind)
        return bool(found.delivered + found.undelivered == count)

    def sink(self, kind: str) -> Any:
        return next(each for each in self.sensors.pipelines.lives()[1] if each.kind == kind)

    def has_read(self, truth: Truth) -> None:
        kind = {"log": "replay", "port": "serial", "topic": "topic", "pictures": "images"}[truth.name]
        until(lambda: self.sensor(kind).rows >= len(truth.good) + truth.bad, PATIENCE_S)

    def has_looked(self) -> None:
        """Waits until the sensor has read the present content of the log."""
        begun = self.looks[0]
        until(lambda: self.looks[0] > begun + 1, PATIENCE_S)

    def count_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        look = followed._left

        def counted(*given: Any) -> str:
            self.looks[0] += 1
            return look(*given)

        monkeypatch.setattr(followed, "_left", counted)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_after_a_day_of_chaos_every_thread_runs_and_every_row_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(monkeypatch)
    monkeypatch.setattr(followed, "LOOK_S", 0.01)
    for module in (sinks, webhook):
        monkeypatch.setattr(module, "TIMEOUT_S", TIMEOUT_S)
    before = set(threading.enumerate())
    log, port, topic = Log(tmp_path / "rows.jsonl"), Port(tmp_path / "port"), Topic()
    pictures = Pictures(tmp_path / "pictures")
    with lying_receiver() as receiver:
        device = Device(tmp_path, f"http://127.0.0.1:{receiver.server_port}/x")
        device.count_looks(monkeypatch)
        named = {
            thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(("sens", "sink"))
        }
        assert len(named) == 7
        for _ in range(MINUTES):
            for each in (log, port, topic, pictures):
                each.minute(device)
            time.sleep(0.002)
        check_rows(device, log, port, topic, pictures)
        receiver.kinds = ("takes",)
        check_sinks(device, port.good, receiver, tmp_path)
        assert named <= {thread.name for thread in threading.enumerate()}
        assert set(receiver.met) == set(KINDS), "each lie was met"
        device.sensors.pipelines.close()


def check_rows(device: Device, log: Truth, port: Port, topic: Truth, pictures: Truth) -> None:
    dropped = device.sensors.dropped
    for truth, kind in ((log, "replay"), (port, "serial"), (pictures, "images")):
        device.has_read(truth)
        told = device.sensor(kind)
        assert (truth.name, told.rows, told.answered, told.refused) == (
            truth.name,
            len(truth.good) + truth.bad,
            len(truth.good),
            truth.bad,
        )
        assert device.keys[truth.name] == truth.good, truth.name
        assert told.state in ("running", "waiting")
        assert told.unserved == 0
    sent = len(topic.good) + topic.bad
    until(lambda: device.sensor("topic").rows + dropped["sensor_rows"] == sent, PATIENCE_S)
    told = device.sensor("topic")
    assert told.answered + told.refused == told.rows
    assert dropped["sensor_rows"] > 0
    assert device.keys["topic"] == [key for key in topic.good if key in set(device.keys["topic"])], (
        "in order, once each"
    )
    assert dropped["lines_cut"] == port.cut


def check_sinks(device: Device, good: list[str], receiver: Any, directory: Path) -> None:
    """`good` are the keys of the serial port's good rows."""
    for kind, name in (("webhook", "log"), ("file", "port"), ("topic", "topic")):
        sent = len(device.keys[name])
        until(partial(device.has_sent, kind, sent), PATIENCE_S)
        assert device.sink(kind).state in ("running", "failing")
    assert device.sink("webhook").undelivered > 0
    took = Counter(receiver.took)
    assert device.sink("webhook").delivered == took.total()
    assert max(took.values()) == 1
    lines = (directory / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == good
