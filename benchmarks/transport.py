"""Transport of models: many links compared with an HTTP file server, a slow link, little memory, kills,
and encodings.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import paho.mqtt.client as paho
from msgspec.structs import replace

from benchmarks import encodings
from benchmarks.slow_link import SlowLink
from benchmarks.table import Row
from benchmarks.transport_fleet import PING
from benchmarks.upload import upload
from contract.blobs import Blob, describe, sha256_hex
from controller.broker.process import RunningBroker, start_broker
from controller.config import BrokerConfig
from firmware_sim.runs import run_once
from firmware_sim.scenario import load_scenario

FLEET_CHUNK = 256 * 1024
SLOW_CHUNK = 64 * 1024
SLOW_BYTES_S = 100_000.0
ROUNDS = 5
PROCESSES = 25
"""Number of processes that run the links, and of those that run the HTTP clients. With two processes, a hundred links
wait for one interpreter, which happens on no device."""


def measure() -> list[Row]:
    """Returns the rows of this benchmark.

    The rows that need optional libraries are measured first, so that it ends early without them.
    """
    rows = encoding_rows()
    for size_mb, devices in ((10, 200), (100, 50)):
        rows += fleet_rows(size_mb, devices, "mosquitto", goal=1.3)
    rows += fleet_rows(10, 200, "embedded", goal=None)
    return [*rows, *slow_rows(), *memory_rows(), *kill_rows(), *uneven_rows()]


@contextmanager
def broker(kind: str) -> Iterator[tuple[RunningBroker, Path]]:
    """Starts a broker as the controller does, in its own directory. Yields the broker and the directory."""
    with tempfile.TemporaryDirectory(prefix="edgeward-transport-") as scratch:
        running = start_broker(BrokerConfig(url=kind, port=0), Path(scratch) / "broker")
        try:
            yield running, Path(scratch)
        finally:
            running.stop()


def connect(port: int) -> paho.Client:
    """Returns a connected paho client of a broker on this machine."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


class Child:
    """One process of a fleet. It prints READY, starts at the first `go` and ends at the second."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Waits until the process has printed READY."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "READY\n"

    def go(self) -> None:
        """Starts the process, or ends it once all have finished.

        A process that has finished uses no CPU until it ends.
        """
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Returns the JSON object that the process prints when it has finished."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


def together(children: list[Child]) -> list[dict[str, Any]]:
    """Starts all children once every one is ready. Returns their results."""
    for child in children:
        child.ready()
    for child in children:
        child.go()
    found = [child.result() for child in children]
    for child in children:
        child.go()
        child.process.wait(30)
    return found


def fetcher(name: str, url: str, devices: int, directory: Path, blob: Blob, **more: Any) -> Child:
    """Starts a process with `devices` agent links that fetch one blob."""
    told = {"name": name, "url": url, "devices": devices, "directory": str(directory)}
    file = directory / f"{name}.json"
    file.write_text(json.dumps(told | {"blob": msgspec.to_builtins(blob)} | more))
    return Child("transport_fleet", str(file))


class Run(NamedTuple):
    """The figures of a fleet that fetched a blob: seconds, CPU seconds of all clients and of the server, and the growth
    of the server's memory in MB.
    """

    took_s: float
    clients_s: float
    server_s: float
    grown_mb: float = 0.0


def fleet_rows(size_mb: int, devices: int, kind: str, goal: float | None) -> list[Row]:
    """Measures MQTT and HTTP in turn. Returns rows for time, CPU and the growth of the broker's memory."""
    data = os.urandom(size_mb << 20)
    runs = [(over_mqtt(data, devices, kind), over_http(data, devices)) for _ in range(ROUNDS)]
    ours, http = (Run(*map(median, zip(*each, strict=True))) for each in zip(*runs, strict=True))
    grown_mb = max(mqtt.grown_mb for mqtt, _ in runs)
    what = f"{size_mb} MB to {devices} links, {kind}"
    each_ms = 1000 / devices
    return [
        Row(f"{what}: time", ours.took_s, http.took_s, "s", "aiohttp file server, as many clients", goal=goal),
        Row(f"{what}: CPU of a link", ours.clients_s * each_ms, http.clients_s * each_ms, "ms", "an aiohttp client's"),
        Row(f"{what}: CPU of the server", ours.server_s, http.server_s, "s", "the file server's"),
        Row(f"{what}: broker's memory", grown_mb, size_mb + 30.0, "MB", "blob + 30 MB", goal=1.0 if goal else None),
    ]


def over_mqtt(data: bytes, devices: int, kind: str) -> Run:
    """Measures one transfer to real agent links over MQTT."""
    blob = describe(data, FLEET_CHUNK)
    with broker(kind) as (running, scratch):
        before_mb = rss_mb(running)
        upload(running.url, data, blob)
        before_s = cpu_s(pid(running))
        each = devices // PROCESSES
        children = [fetcher(f"p{number}", running.url, each, scratch, blob) for number in range(PROCESSES)]
        peak = Peak(running)
        found = together(children)
        return _run(found, cpu_s(pid(running)) - before_s, peak.stop() - before_mb)


def over_http(data: bytes, devices: int) -> Run:
    """Measures one transfer to aiohttp clients from an aiohttp file server."""
    with tempfile.TemporaryDirectory(prefix="edgeward-http-") as scratch:
        directory = Path(scratch)
        (directory / "blob").write_bytes(data)
        command = [sys.executable, "-m", "benchmarks.transport_http", "serve", str(directory / "blob")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/blob"
        told = (url, str(devices // PROCESSES))
        children = []
        for number in range(PROCESSES):
            place = directory / str(number)
            place.mkdir()
            children.append(Child("transport_http", "fetch", *told, str(place), sha256_hex(data)))
        before_s = cpu_s(server.pid)
        found = together(children)
        server_s = cpu_s(server.pid) - before_s
        server.kill()
        return _run(found, server_s)


def _run(found: list[dict[str, Any]], server_s: float, grown_mb: float = 0.0) -> Run:
    took_s, clients_s = max(each["took_s"] for each in found), sum(each["cpu_s"] for each in found)
    return Run(took_s, clients_s, server_s, grown_mb)


def cpu_s(process: int) -> float:
    """Returns the CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(running: RunningBroker) -> float:
    """Returns the resident memory of the broker's process in MiB."""
    lines = Path(f"/proc/{pid(running)}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def pid(running: RunningBroker) -> int:
    """Returns the process id of the broker."""
    assert running.process is not None
    return running.process.pid


class Peak:
    """Measures the broker's memory ten times a second, in a thread."""

    def __init__(self, running: RunningBroker) -> None:
        self._running = running
        self._highest = 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Ends the thread and returns the highest value in MiB."""
        self._ends.set()
        self._thread.join()
        return self._highest

    def _watch(self) -> None:
        while not self._ends.wait(0.1):
            self._highest = max(self._highest, rss_mb(self._running))


def slow_rows() -> list[Row]:
    """Measures how late commands arrive during a transfer over 100 KB/s, and how much of the link the transfer uses."""
    data = os.urandom(4 << 20)
    blob = describe(data, SLOW_CHUNK)
    with broker("mosquitto") as (running, scratch):
        upload(running.url, data, blob)
        link = SlowLink(running.port, SLOW_BYTES_S)
        child = fetcher("slow", f"mqtt://127.0.0.1:{link.port}", 1, scratch, blob)
        child.ready()
        child.go()
        commander, ends = connect(running.port), threading.Event()

        def command() -> None:
            while not ends.wait(0.7):
                commander.publish(PING, str(time.time()), qos=1)

        threading.Thread(target=command, daemon=True).start()
        result = child.result()
        child.go()
        ends.set()
        commander.disconnect()
    delays = result["delays_s"]
    used = len(data) / result["took_s"]
    late_s = delays[int(0.95 * (len(delays) - 1))]
    return [
        Row(f"a command during a transfer at 100 KB/s, p95 of {len(delays)}", late_s, 2.0, "s", "the goal", goal=1.0),
        Row(
            "the link that the transfer uses", used / 1000, SLOW_BYTES_S / 1000, "KB/s", "the link", 0.85, at_least=True
        ),
    ]


def memory_rows() -> list[Row]:
    """Measures a transfer of 200 MB to an agent that may map only 96 MB more than it has mapped at its start."""
    data = os.urandom(200 << 20)
    blob = describe(data, SLOW_CHUNK)
    with broker("mosquitto") as (running, scratch):
        upload(running.url, data, blob)
        (result,) = together([fetcher("small", running.url, 1, scratch, blob, address_mb=96)])
    return [Row("200 MB with 96 MB of address space: peak memory", result["peak_mb"], 200.0, "MB", "the artifact")]


def kill_rows() -> list[Row]:
    """Counts the bytes to a device that is killed 50 times, with 20 cut links and 5 restarts of the broker."""
    data, rng = os.urandom(100 << 20), random.Random(7)
    blob = describe(data, SLOW_CHUNK)
    with broker("mosquitto") as (first, scratch):
        running = first
        upload(running.url, data, blob)
        link = SlowLink(running.port, 8e6)
        kills, cuts, restarts, result = 0, 0, 0, None
        began = time.monotonic()
        while result is None:
            child = fetcher("killed", f"mqtt://127.0.0.1:{link.port}", 1, scratch, blob)
            child.ready()
            child.go()
            if kills < 50:
                time.sleep(rng.uniform(0.05, 0.4))
                if cuts < 20 and kills % 2:
                    link.cut()
                    cuts += 1
                    time.sleep(0.05)
                child.process.send_signal(signal.SIGKILL)
                child.process.wait()
                kills += 1
                if kills % 10 == 0:
                    running = restart(running, scratch)
                    upload(running.url, data, blob)
                    restarts += 1
                continue
            result = child.result()
            child.go()
        running.stop()
    what = f"100 MB through {kills} kills, {cuts} cuts, {restarts} broker restarts, {time.monotonic() - began:.0f} s"
    return [Row(f"{what}: bytes", link.bytes_down / 1e6, len(data) / 1e6, "MB", "the blob", goal=1.1)]


def restart(running: RunningBroker, scratch: Path) -> RunningBroker:
    """Kills the broker with SIGKILL and starts it again on the same port."""
    os.kill(pid(running), signal.SIGKILL)
    running.stop()
    return start_broker(BrokerConfig(url="mosquitto", port=running.port), scratch / "broker")


def uneven_rows() -> list[Row]:
    """Simulates 1,000 devices with outages on links from 10 kbit/s to 100 Mbit/s.

    Counts those that have the release, and the bytes beside the smallest possible number.
    """
    scenario = replace(load_scenario(Path("configs/scenarios/uneven_links.toml")), devices=1_000)
    result, world = run_once(scenario, 1)
    assert not result.law, result.violation
    (model,) = world.models.values()
    ideal = len(world.devices) * (len(model.artifact) + len(model.golden))
    sent = sum(device.link.bytes_down for device in world.devices.values())
    there = sum(device.record.stable is not None for device in world.devices.values())
    return [
        Row("devices that have the release, of 1,000 on uneven links", there, 1_000, "", "all", 1.0, at_least=True),
        Row("bytes to 1,000 devices on uneven links", sent / 1e6, ideal / 1e6, "MB", "artifact and golden set each"),
    ]


def encoding_rows() -> list[Row]:
    """Compares the bytes on the wire for each kind of change with the smallest of the other methods."""
    rows = []
    for row in encodings.rows():
        others = {name: row[name] for name in ("raw", "zstd-19", "bsdiff4")}
        best = min(others, key=lambda name: others[name])
        rows.append(Row(f"bytes: {row['name']}", row["ours"] / 1e3, others[best] / 1e3, "kB", best, goal=1.02))
    return rows
