"""The effect of one device that never stops on the controller and the others: 10,000 messages/s for 60 s on a real
Mosquitto.

The flooder is its own process (`python -m benchmarks.message_flood PORT PASSWORD SECONDS`) on a bare socket: a
client library could not send so fast next to the broker and the controller on two cores.
"""

import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil

from benchmarks.table import Row
from contract import topics
from contract.messages import Ack, Hardware, Heartbeat, Refusal, Report, Telemetry
from contract.protocol import PROTOCOL
from contract.wire import decode, encode
from controller.broker.configurations import USER
from controller.broker.process import find_mosquitto

RATE = 10_000
FLOOD_S = 60.0
BATCHES = 100
"""Batches of messages that the flooder sends a second."""
START_S = 60.0
LOOK_S = 0.05
GROWTH_MB, ACK_S = 20.0, 2.0
HONEST = 5
REPORT_EVERY_S = 0.5
_HARDWARE = Hardware(machine="x86_64", cpus=4, memory_mb=4096, python="3.11", onnxruntime="1.32", agent="0.1.0")


@contextmanager
def running(*options: str) -> Iterator[tuple[psutil.Process, Path, int]]:
    """A controller in its own process: (process, data directory, port of its API)."""
    with tempfile.TemporaryDirectory() as scratch:
        home, config = Path(scratch) / "data", Path(scratch) / "controller.toml"
        config.write_text("[broker]\ntls = false\n")  # the flooder writes MQTT itself, with the password
        start = "from controller.cli import main; main()"
        command = [sys.executable, "-c", start, "run", "-c", str(config), "--data-dir", str(home)]
        command += ["--port", "0", "--broker-port", "0"]
        with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as controller:
            try:
                yield psutil.Process(controller.pid), home, int(_told(home)["url"].rpartition(":")[2])
            finally:
                controller.terminate()


def load() -> str:
    """Returns the load average of the last minute: figures from a shared machine mean little without it."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def measure() -> list[Row]:
    """Measures the largest growth of the controller's resident memory, and how long other devices' reports wait."""
    if find_mosquitto() is None:
        return []
    with running("--broker", "mosquitto") as (process, home, _):
        port = int(_told(home)["broker"].rpartition(":")[2])
        password = (home / "broker" / "password").read_text()
        others = [_Honest(f"honest-{number}", port, password) for number in range(HONEST)]
        time.sleep(5)
        before = highest = process.memory_info().rss
        command = [sys.executable, "-m", "benchmarks.message_flood", str(port), password, str(FLOOD_S)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flooder:
            while flooder.poll() is None:
                highest = max(highest, process.memory_info().rss)
                time.sleep(LOOK_S)
            sent = int(flooder.communicate()[0])
        time.sleep(5)
        waits = [wait for each in others for wait in each.end()]
    p95 = statistics.quantiles(waits, n=20)[-1]
    is_bar = f"the bar; {load()}"
    return [
        Row("messages of one device in a second", sent / FLOOD_S, RATE, "/s", load(), 0.9, at_least=True),
        Row("RSS growth meanwhile", (highest - before) / 1e6, GROWTH_MB, "MB", is_bar, 1.0),
        Row("reports of others acknowledged, p95", p95, ACK_S, "s", is_bar, 1.0),
        Row("reports of others acknowledged", float(len(waits)), HONEST * FLOOD_S / REPORT_EVERY_S, "", "those sent"),
    ]


class _Honest:
    """A device that reports twice a second and notes how long each report waits for its acknowledgement."""

    def __init__(self, name: str, port: int, password: str) -> None:
        self._name = name
        self._sent: dict[int, float] = {}
        self._waits: list[float] = []
        self._ended = threading.Event()
        self._mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self._mqtt.username_pw_set(USER, password)
        self._mqtt.on_message = self._acknowledged
        self._mqtt.connect("127.0.0.1", port)
        self._mqtt.subscribe(topics.ack(name), 1)
        self._mqtt.loop_start()
        hello = Heartbeat(protocol=PROTOCOL, device=name, boot=1, seq=1, uptime_s=1, hardware=_HARDWARE)
        self._mqtt.publish(topics.heartbeat(name), encode(hello), 1)
        threading.Thread(target=self._report, daemon=True).start()

    def end(self) -> list[float]:
        """Returns the seconds that each report has waited; for one that was never acknowledged, until now."""
        self._ended.set()
        self._mqtt.disconnect()
        now = time.monotonic()
        return self._waits + [now - at for at in self._sent.values() if now - at > ACK_S]

    def _report(self) -> None:
        for seq in itertools.count(2):
            if self._ended.wait(REPORT_EVERY_S):
                return
            said = Report(protocol=PROTOCOL, device=self._name, boot=1, seq=seq, refusal=Refusal(code="disk_full"))
            self._sent[seq] = time.monotonic()
            self._mqtt.publish(topics.report(self._name), encode(said), 1)

    def _acknowledged(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        at = self._sent.pop(decode(bytes(message.payload), Ack).seq, None)
        if at is not None:
            self._waits.append(time.monotonic() - at)


def _told(home: Path) -> dict[str, str]:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with suppress(OSError, ValueError):
            found: dict[str, str] = json.loads((home / "controller.json").read_text())
            return found
        time.sleep(0.1)
    raise TimeoutError("the controller does not start")


def _packet(kind: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _messages(device: str) -> bytes:
    """One batch: heartbeats, reports and telemetry, all well formed, each number once."""
    packets = []
    for seq in range(RATE // BATCHES):
        head: dict[str, Any] = {"protocol": PROTOCOL, "device": device, "boot": 1, "seq": seq + 2}
        said = (
            (topics.heartbeat(device), Heartbeat(**head, uptime_s=1, hardware=_HARDWARE)),
            (topics.report(device), Report(**head, refusal=Refusal(code="disk_full", detail="x" * 400))),
            (topics.telemetry(device), Telemetry(**head, interval_s=1.0)),
        )[seq % 3]
        packets.append(_packet(0x30, _text(said[0]) + b"\x00" + encode(said[1])))
    return b"".join(packets)


def main() -> None:
    """Floods, and prints how many messages that were."""
    port, password, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = _text("MQTT") + b"\x05\xc2\x00\x3c\x00"
        connection.sendall(_packet(0x10, head + _text("flooder") + _text(USER) + _text(password)))
        assert connection.recv(64)[0] == 0x20, "the broker refuses"
        batch, began = _messages("flooder"), time.monotonic()
        for number in range(int(seconds * BATCHES)):
            time.sleep(max(0.0, began + number / BATCHES - time.monotonic()))
            if time.monotonic() - began > seconds:
                break
            connection.sendall(batch)
    print((number + 1) * (RATE // BATCHES))


if __name__ == "__main__":
    main()
