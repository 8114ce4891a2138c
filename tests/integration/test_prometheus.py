"""Prometheus reads `/metrics`: its linter checks the text, and its server scrapes a device and a controller."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from agent.adapters.http.server import HttpServer
from agent.adapters.process_facts import process_facts
from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.config import ServingConfig
from agent.core.model import Assignment
from agent.ports import Sample
from agent.serving.metrics import FAMILIES, Facts, ModelFacts, exposition
from agent.serving.oip import Endpoint
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput
from contract.messages import SensorState, SinkState
from controller.api.app import make_app
from controller.api.metrics import exposition as of_controller
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.verbs.health import facts_of
from firmware_sim.real_models import make_real_model
from tests.controller.test_metrics import hear

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="no prometheus on this machine: apt-get install prometheus (CI does)",
    ),
]
SENSORS = (SensorState(name="serial-1", kind="serial", model="plant", state="waiting", rows=5, answered=3, refused=2),)
SINKS = (SinkState(name="webhook-1", kind="webhook", state="running", delivered=3, delivered_age_s=1.5),)


class Device:
    """A trial beside stable, both with answers, a waiting sensor, a sink, labels and a metric."""

    def __init__(self) -> None:
        self.slot = slot = ModelSlot("plant", perf_s=time.perf_counter, lock=threading.Lock())
        for release in (3, 4):
            made = make_real_model(release, "good")
            assignment = Assignment(model="plant", generation=1, manifest=made.manifest, policy=TrialPolicy())
            slot.fallback = slot.swap(slot.prepare(assignment, OnnxSession(made.artifact, made.manifest)))
            found = slot.predict(Sample({"x": 1.0}))
            assert found is not None
        with pytest.raises(BadInput):
            slot.predict(Sample({}))
        slot.feedback(found.id, 1)
        slot.metric("scrap_rate", 0.25)
        self.statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())

    def facts(self) -> Facts:
        versions = tuple(zip(("trial", "stable"), self.slot.versions, strict=True))
        return Facts(
            counters={'a "quoted" \\ kind\n': 1},
            expiries={"certificate": 2_000_000_000},
            models={"plant": ModelFacts("trial", versions)},
            link=(True, 12.5),
            lives=(SENSORS, SINKS),
            process=process_facts(),
            build={"version": "9", "python": "3", "onnxruntime": "1"},
        )

    def text(self) -> bytes:
        clock = self.statistics.begin()
        self.statistics.succeeded("plant", "4", clock, 1)
        return exposition(self.statistics, {"plant": self.slot}, self.facts())

    def served(self) -> HttpServer:
        endpoint = Endpoint(lambda: {"plant": self.slot}, self.statistics, version="9", facts=self.facts)
        server = HttpServer(endpoint, ServingConfig(listen="127.0.0.1:0"))
        server.start()
        return server


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "controller"))))
    hear(made, 0, 10)
    yield made
    made.close()


def lint(text: bytes) -> tuple[int, str]:
    found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return found.returncode, (found.stdout + found.stderr).decode()


def test_promtool_finds_no_error_in_either_page_and_every_family_of_a_device_has_a_sample(state: State) -> None:
    text = Device().text()
    assert lint(text) == (0, "")
    assert lint(of_controller(state, facts_of(state))) == (0, "")
    lines = text.decode().splitlines()
    bare = [
        name for name in FAMILIES if not any(line.startswith((f"{name} ", f"{name}_", f"{name}{{")) for line in lines)
    ]
    assert bare == ["edgeward_sensor_row_age_seconds"], "the sensor has had no row"
    assert lint(b"# TYPE a_bytes counter\na_bytes{x=} 1\n")[0] != 0, "the linter is at work"


def test_a_histogram_has_half_of_the_bucket_edges_and_the_exact_count(state: State) -> None:
    device = Device()
    lines = [
        line for line in device.text().decode().splitlines() if "duration_seconds_bucket" in line and '="4"' in line
    ]
    assert len(lines) == 28
    counts = [int(line.rsplit(" ", 1)[1]) for line in lines]
    assert counts == sorted(counts)
    assert counts[-1] == 1


@contextmanager
def prometheus(tmp_path: Path, targets: dict[str, str]) -> Iterator[str]:
    """A server that scrapes twice a second; yields its address."""
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target]}], "authorization": {"credentials": "edg_test"}}
        for name, target in targets.items()
    ]
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "500ms"}, "scrape_configs": jobs}))
    with socket_free() as port:
        address = f"127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            yield address
        finally:
            process.kill()
            process.wait()


@contextmanager
def socket_free() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found.getsockname()[1]


def value_of(address: str, query: str) -> float | None:
    try:
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: Any = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


async def scraped(address: str, query: str) -> float | None:
    """Returns the value of a query once it has one."""
    for _ in range(200):
        if (value := await asyncio.to_thread(value_of, address, query)) is not None:
            return value
        await asyncio.sleep(0.1)
    return None


def test_a_real_prometheus_scrapes_a_device_and_a_controller(state: State, tmp_path: Path) -> None:
    async def run() -> dict[str, float | None]:
        device, server = Device(), TestServer(make_app(state, "edg_test"))
        served = device.served()
        await server.start_server()
        targets = {"device": f"127.0.0.1:{served.port}", "controller": f"127.0.0.1:{server.port}"}
        try:
            with prometheus(tmp_path, targets) as address:
                return {query: await scraped(address, query) for query in EXPECTED}
        finally:
            await server.close()
            served.stop()

    assert asyncio.run(run()) == EXPECTED


EXPECTED: dict[str, float] = {
    "sum(edgeward_inference_duration_seconds_count)": 2.0,
    'edgeward_model_phase{phase="trial"}': 1.0,
    'edgeward_model_serving{role="stable"}': 0.0,
    'edgeward_sensor_rows_total{result="refused"}': 2.0,
    'edgeward_application_metric_sum{name="scrap_rate"}': 0.25,
    'edgeward_labels_total{result="counted"}': 1.0,
    'sum(edgeward_inference_failures_total{reason="refused"})': 1.0,
    "sum(edgeward_controller_devices)": 10.0,
    'edgeward_controller_rollouts{status="paused"}': 10.0,
    "sum(up)": 2.0,
}
