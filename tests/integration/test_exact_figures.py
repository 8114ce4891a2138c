"""The figures of a device are exact for 100,000 requests through every interface, one in five bad, during a trial.

It runs a controller, a broker and an application with the agent: HTTP, `Predictor`, a log, a topic, a serial port.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.answers.devices import Device as DeviceView
from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for
from tests.integration.counted_doors import FollowedFile, Http, Lines, SerialPort, Topic
from tests.integration.counted_truth import MACHINES, Truth
from tests.integration.test_feedback import publisher

pytestmark = [pytest.mark.broker, pytest.mark.soak]

ROUND = {"application": 340, "http": 490, "log": 70, "topic": 60, "serial": 40}
"""The number of requests of one round by interface."""
ROUNDS = 100
JUDGED = 66 * ROUNDS
"""The labels that the trial needs for its verdict: a few more than all of these requests contain."""
GONE = 200
SENSORS = {"log": "replay-1", "topic": "topic-2", "serial": "serial-3"}
SENSOR = """
[[sensor]]
kind = "{kind}"
model = "plant"
label = "scrap"
key = "key"
{where}
[sensor.sink]
kind = "file"
path = "{sink}.jsonl"
batch = 50
batch_s = 0.1
max_bytes = 1_000_000_000
"""


def strategy(name: str, **trial: Any) -> dict[str, Any]:
    return {"name": name, "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 0} | trial}


def model_of(seed: int) -> tuple[Any, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {"t": rng.normal(size=600), "v": rng.normal(size=600), "machine": rng.choice(list(MACHINES), 600)}
    ).astype({"t": np.float32, "v": np.float32})
    scrap = (rows["t"] + 0.3 * rng.normal(size=600) > 0).astype(int)
    columns = ColumnTransformer([("names", OneHotEncoder(), ["machine"])], remainder=StandardScaler())
    return make_pipeline(columns, LogisticRegression()).fit(rows, scrap), rows


class Application:
    """The process that contains the agent."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "tests.integration.counted_application", str(config)]
        self._log = (config.parent / "application.log").open("wb")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        self.truth = Truth()

    def begin(self, count: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n".encode())
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdout is not None
        self.truth.add(Truth.read(json.loads(self.process.stdout.readline())))

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self._log.close()


@dataclass
class Scene:
    """A device with all its interfaces, in a trial of release 2 beside release 1."""

    client: Client
    directory: Path
    port: int
    application: Application
    http: Http
    doors: dict[str, FollowedFile | Topic | SerialPort]
    site: Site
    rounds: int = 0

    def round(self) -> None:
        """Sends one round through every interface and waits until the sensors have read their rows."""
        self.application.begin(ROUND["application"])
        for name, door in self.doors.items():
            door.send(ROUND[name])
        for _ in range(ROUND["http"]):
            self.http.one()
        self.application.end()
        self.rounds += 1
        wait_for("the rows of sensors", lambda: self.sensor_rows() == self.sent_rows(), within_s=60)

    def sent_rows(self) -> int:
        return sum(len(door.lines.good) + door.lines.bad for door in self.doors.values())

    def sensor_rows(self) -> int:
        return sum(value for name, _, value in self.metrics() if name == "edgeward_sensor_rows_total")

    def metrics(self) -> list[tuple[str, dict[str, str], int]]:
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30).read().decode()
        found = re.findall(r"^(\w+)\{(.*)\} (\d+)$", page, re.MULTILINE)
        return [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(value)) for name, labels, value in found]

    def counted(self) -> int:
        """The number of requests of the model that the controller knows."""
        return sum(each.inferences + sum(each.refused.values()) for each in self.model.measured)

    def device_show(self) -> Any:
        """What `edgeward device show --json` prints."""
        token = (self.site.data_dir / "token").read_text(encoding="ascii")
        environment = os.environ | {"EDGEWARD_URL": self.site.url, "EDGEWARD_TOKEN": token}
        command = [str(Path(sys.executable).with_name("edgeward")), "device", "show", "device-1", "--json"]
        said = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
        return json.loads(said.stdout)

    @property
    def model(self) -> Any:
        return next(iter(self.client.device("device-1").models), None)

    def confirmed(self, release: int) -> bool:
        model = self.model
        return model is not None and model.stable_release == release and model.state.phase == "steady"

    def truth(self) -> Truth:
        """Returns the expected counts: those of the interfaces, and the lines that the sinks of the sensors wrote."""
        truth = Truth()
        for each in (self.application.truth, self.http.truth, *(door.lines.truth for door in self.doors.values())):
            truth.add(each)
        for name, door in self.doors.items():
            answers = [json.loads(line) for line in (self.directory / f"{name}.jsonl").read_text().splitlines()]
            assert {answer["key"] for answer in answers} == door.lines.good
            assert len(answers) == len(door.lines.good)
            for answer in answers:
                truth.answered(answer["release"], 1)
                if (label := door.lines.labels.get(answer["key"])) is not None:
                    truth.labelled[answer["release"]] += 1
                    truth.correct[answer["release"]] += answer["value"] == str(label)
        return truth


@contextmanager
def scene(tmp_path: Path) -> Iterator[Scene]:
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    site, port, directory = Site(tmp_path, broker=broker.url), free_port(), tmp_path / "device-1"
    lines = {name: Lines(name, Random(name)) for name in ("log", "topic", "serial")}
    sender, cable = publisher(broker.url), SerialPort(lines["serial"])
    where = {
        "log": 'path = "rows.jsonl"\nfollow = true',
        "topic": 'topic = "line/rows"',
        "serial": f'path = "{cable.name}"',
    }
    site.rows_of = lambda _: "".join(
        SENSOR.format(kind=sensor.partition("-")[0], where=where[name], sink=name) for name, sensor in SENSORS.items()
    )
    site.agent_tables = f'[serving]\nlisten = "127.0.0.1:{port}"\n'
    application = None
    try:
        client = site.start_controller()
        for seed in (1, 2):
            model, rows = model_of(seed)
            client.push(model, name="plant", sample=rows)
        site.prepare_agent(1)
        (directory / "rows.jsonl").touch()
        application = Application(directory / "agent.toml")
        wait_for("the device", lambda: client.devices() or None)
        client.rollout("plant", release=1, strategy=strategy("first"))
        log, topic = FollowedFile(directory / "rows.jsonl", lines["log"]), Topic(sender, "line/rows", lines["topic"])
        doors = {"log": log, "topic": topic, "serial": cable}
        found = Scene(client, directory, port, application, Http(port, Random(5)), doors, site)
        wait_for("release 1", lambda: found.confirmed(1) and not client.rollouts(only_open=True))
        trial = {"traffic_share": "0.5", "min_samples": JUDGED, "judged_inferences": 100_000}
        client.rollout("plant", release=2, strategy=strategy("second", **trial))
        cable.begin()
        wait_for("the trial", lambda: found.model.state.phase == "trial")
        yield found
    finally:
        sender.loop_stop()
        sender.disconnect()
        if application is not None:
            application.close()
        cable.close()
        site.stop()
        broker.stop()


def measured(found: Scene) -> dict[int, Any]:
    return {each.release: each for each in found.model.measured}


@pytest.mark.timeout(1800)
def test_after_100_000_requests_in_a_trial_device_show_api_and_metrics_have_the_exact_figures(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        for _ in range(ROUNDS):
            found.round()
        check_page(found)
        for _ in range(GONE // 2):
            found.http.leave()
        while not found.confirmed(2):
            found.round()
            assert found.rounds < 2 * ROUNDS, found.model.state
        truth = found.truth()
        assert truth.requests == sum(ROUND.values()) * found.rounds
        assert 0.18 < (truth.refused.total() + truth.elsewhere) / truth.requests < 0.22
        due = truth.inferences.total() + truth.refused.total() + found.http.gone
        wait_for("all telemetry", lambda: found.counted() >= due, within_s=60)
        check_measured(found, truth, {each.release: each for each in found.model.measured})
        shown = DeviceView.read(found.device_show())
        assert shown.models[0].measured == found.model.measured


def check_page(found: Scene) -> None:
    """Compares `/metrics` with the expected counts during the trial."""
    truth, page = found.truth(), Counter[tuple[str, ...]]()
    for name, labels, value in found.metrics():
        told = [labels[key] for key in ("model_version", "sensor", "sink", "result", "reason", "code") if key in labels]
        page[name.removeprefix("edgeward_"), *told] += value
    http = found.http.truth
    for release in (1, 2):
        version = str(release)
        assert page["inference_duration_seconds_count", version] == truth.inferences[release]
        assert page["inference_duration_seconds_bucket", version] > 0
        assert page["inference_requests_total", version, "success"] == http.inferences[release]
        assert page["inference_rows_total", version] == http.rows[release]
    failed = {each: page[each] for each in page if each[0] == "inference_failures_total"}
    by_code = Counter[str]()
    for (_, _, reason, code), count in failed.items():
        assert reason == "refused"
        by_code[code] += count
    assert by_code == truth.refused
    assert sum(page["inference_requests_total", each, "fail"] for each in "12") == http.refused.total()
    for name, door in found.doors.items():
        sensor = SENSORS[name]
        assert page["sensor_rows_total", sensor, "answered"] == len(door.lines.good)
        assert page["sensor_rows_total", sensor, "refused"] == door.lines.bad
        assert page["sensor_rows_total", sensor, "unserved"] == page["sensor_failures_total", sensor] == 0
    assert sum(page[each] for each in page if each[0] == "sink_predictions_total") == sum(
        len(door.lines.good) for door in found.doors.values()
    )


def check_measured(found: Scene, truth: Truth, sums: dict[int, Any]) -> None:
    """Compares the controller's figures with the expected ones. Disconnected clients may count for either release."""
    refused = Counter[str]()
    for each in sums.values():
        refused.update(each.refused)
    cancelled = refused["request_cancelled"] - truth.refused["request_cancelled"]
    unheard = {release: sums[release].inferences - truth.inferences[release] for release in (1, 2)}
    assert min(cancelled, *unheard.values()) >= 0, (cancelled, unheard)
    assert cancelled + sum(unheard.values()) == found.http.gone
    assert refused - Counter(request_cancelled=cancelled) == truth.refused
    for release, each in sums.items():
        assert each.rows == truth.rows[release] + unheard[release]
        assert each.labelled == truth.labelled[release]
        assert each.accuracy == truth.correct[release] / truth.labelled[release]
        assert each.errors == each.labels_unusable == each.labels_unknown == each.refused_alone == 0
        assert each.latency_us_p50 is not None
        assert each.latency_us_p95 is not None
        assert each.latency_us_p50 < each.latency_us_p95
