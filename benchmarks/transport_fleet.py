"""Many real agent links, stores and downloads in one process: `python -m benchmarks.transport_fleet JOB.json`.

Prints READY once all links are connected, and starts at a line on stdin. Prints one line of JSON when all have their
blob, and ends at another line on stdin.
"""

import gc
import json
import resource
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from agent.adapters.mqtt.paho_link import PahoLink
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.runtime import heap
from agent.config import Broker
from agent.core.events import FetchDone, FetchFailed
from agent.core.model import Assignment
from agent.flash.store import Store
from agent.stimuli import LinkUp, MessageArrived, Stimulus
from agent.transfer.carriers import Carriers
from agent.transfer.download import Download
from contract import topics
from contract.blobs import Blob
from contract.desired import TrialPolicy
from firmware_sim.models import make_model

PING = "edgeward/v1/pub/ping"


class Fetcher:
    """The transport of one device: its link, its store and one download."""

    def __init__(self, url: str, name: str, directory: Path, blob: Blob) -> None:
        self.connected, self.begun, self.done = threading.Event(), False, threading.Event()
        self.failed = ""
        self.delays_s: list[float] = []
        self._lock = threading.RLock()
        self._link = PahoLink(Broker(url=url), name, 1, self._take)
        made = make_model(1, "good")
        manifest = replace(made.manifest, artifact=blob)
        assignment = Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())
        self.dropped: Counter[str] = Counter()
        self.store = Store(PosixDisk(directory))
        self.store.write_chunk(manifest.golden.blob, 0, made.golden)  # as left by the version before
        self.store.seal(manifest.golden.blob)
        self._download = Download(
            assignment, store=self.store, carriers=Carriers(self._link), drop=lambda what: self.dropped.update([what])
        )
        self._link.start()

    def begin(self) -> None:
        """Asks for the first chunks."""
        with self._lock:
            self.begun = True
            self._fold(self._download.start(time.monotonic()))

    def tick(self) -> None:
        """Advances the download, as the agent does at intervals."""
        with self._lock:
            if self.begun and not self.done.is_set():
                self._fold(self._download.tick(time.monotonic()))

    def _take(self, stimulus: Stimulus) -> None:
        with self._lock:
            match stimulus:
                case LinkUp():
                    self._link.subscribe([PING])
                    self.connected.set()
                    if self.begun:
                        self._fold(self._download.link_up(time.monotonic()))
                case MessageArrived(topic, payload) if topic == PING:
                    self.delays_s.append(time.time() - float(payload))
                case MessageArrived(topic, payload) if (place := topics.parse_blob(topic)) and not self.done.is_set():
                    self._fold(self._download.receive(*place, payload, time.monotonic()))

    def _fold(self, result: Any) -> None:
        if isinstance(result, FetchDone):
            self.done.set()
        elif isinstance(result, FetchFailed):
            self.failed = f"{result.code} {result.detail}"
            self.begin()


def main() -> None:
    heap.tune()
    job = json.loads(Path(sys.argv[1]).read_text())
    blob = msgspec.convert(job["blob"], Blob)
    if limit_mb := job.get("address_mb"):
        allowed = int(_kb("VmSize")) * 1024 + limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    names = [f"{job['name']}-{number}" for number in range(job["devices"])]
    fleet = [Fetcher(job["url"], name, Path(job["directory"]) / name, blob) for name in names]
    for each in fleet:
        each.connected.wait(60)
    gc.freeze()  # as the daemon does
    print("READY", flush=True)
    sys.stdin.readline()
    began, began_cpu_s = time.monotonic(), time.process_time()
    for each in fleet:
        each.begin()
    while not all(each.done.wait(0.05) for each in fleet):
        for each in fleet:
            each.tick()
    took_s, used_s = time.monotonic() - began, time.process_time() - began_cpu_s
    delays = sorted(delay for each in fleet for delay in each.delays_s)
    dropped = sum((each.dropped for each in fleet), Counter())
    used = {"took_s": took_s, "cpu_s": used_s, "peak_mb": _kb("VmHWM") / 1024}
    found = used | {"delays_s": delays, "dropped": dict(dropped)}
    print(json.dumps(found), flush=True)
    sys.stdin.readline()  # a process that has finished uses no CPU that others need


def _kb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
