"""Measures `GET /v1/devices` with 100,000 devices: filters, search, orders and pages, as the API answers them.

Decides the fleet and the questions. Refuses to know sockets: the handler and its JSON are timed, in one process.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from contract.messages import Hardware, Heartbeat, ModelInterval, ModelState, Telemetry, UpdateOutcome, VersionRef
from controller.api.device_list_routes import device_page
from controller.config import Config, StorageConfig
from controller.reconcile.fold import fold
from controller.reconcile.roster import fresh_roster
from controller.state import State, open_state

HARDWARE = Hardware(machine="aarch64", cpus=4, memory_mb=4096, python="3.11", onnxruntime="1.32", agent="0.1.0")
QUESTIONS = (
    "", "offset=50000", "presence=silent", "health=failing", "health=well&sort=-seen", "label=site=s7",
    "model=weather&version=2", "code=health_accuracy", "q=00123", "q=site%3Ds7&presence=online&sort=health",
    "sort=seen", "sort=version", "sort=-label.site", "limit=1000",
)  # fmt: skip
BEATS_BETWEEN = 3_333
"""Heartbeats between two queries: those of a second, if 100,000 devices send one every 30 s."""


def heartbeat(number: int, seq: int) -> Heartbeat:
    """Returns the heartbeat of a device: every 20th device has rolled a version back."""
    old, new = VersionRef(release=1, digest="1" * 64), VersionRef(release=2, digest="2" * 64)
    bad = number % 20 == 0
    ended = UpdateOutcome(5, new, "rolled_back", "health_accuracy", "71 % against 82 %") if bad else None
    served = old if bad else new
    state = ModelState("weather", "steady", 5, stable=served, serving=served.digest, outcome=ended)
    labels = {"site": f"s{number % 40}", "gateway": f"g{number % 400}"}
    return Heartbeat(1, f"pump-{number:06}", 1, seq, 60, HARDWARE, labels=labels, models=(state,))


def fill(state: State, devices: int, now: float) -> None:
    """Makes every device send one heartbeat; every tenth long ago."""
    interval = ModelInterval("weather", VersionRef(release=2, digest="2" * 64), 60, 0)
    for number in range(devices):
        name, at = f"pump-{number:06}", now - (3600 if number % 10 == 0 else 5)
        fold(state.world, name, heartbeat(number, 1), at)
        fold(state.world, name, Telemetry(1, name, 1, 2, 60.0, (interval,), temperature_c=51.0), at)


def ask(state: State, question: str, now: float) -> tuple[float, int, int]:
    """Returns (milliseconds, devices that pass the filters, bytes of the answer)."""
    began = time.perf_counter()
    page = device_page(state, parse_qsl(question), now)
    body = msgspec.json.encode(page)
    return (time.perf_counter() - began) * 1e3, page.total, len(body)


def main() -> None:
    """Prints p50 and p95 for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        state = open_state(Config(storage=StorageConfig(data_dir=str(Path(directory)))))
        now = time.time()
        fill(state, given.devices, now)
        state.world.registered = None
        began = time.perf_counter()
        fresh_roster(state.world, now)
        print(f"{given.devices} devices; the index from nothing: {time.perf_counter() - began:.2f} s")
        taken: list[float] = []
        for question in QUESTIONS:
            times = []
            for turn in range(given.rounds):
                for number in range(min(BEATS_BETWEEN, given.devices)):
                    fold(state.world, f"pump-{number:06}", heartbeat(number, 10 + turn), now)
                ms, total, size_bytes = ask(state, question, now)
                times.append(ms)
            taken += times
            p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
            print(f"{question or 'all':44} {total:7} found {size_bytes:8} B  p50 {p50:6.1f} ms  p95 {p95:6.1f} ms")
        print(f"all questions: p95 {statistics.quantiles(taken, n=20)[-1]:.1f} ms, worst {max(taken):.1f} ms")
        state.close()


if __name__ == "__main__":
    main()
