"""Mixed requests, one in five bad, during a trial: it is confirmed, and `device show` has the exact counts.

It uses no processes and takes a second; `test_exact_figures` is the same with a real fleet and 100,000 requests.
"""

import json
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from msgspec.structs import replace

from agent.adapters.posix_disk import PosixDisk
from agent.core import machine
from agent.core.events import ActivationAllowed, DesiredChanged, FetchDone, HealthJudged, ModelReady, TimerFired
from agent.core.model import Assignment, Record, Steady, Trial
from agent.flash.store import Store
from agent.models.device_model import DeviceModel
from agent.ports import Sample
from agent.serving.lineup import Lineup
from agent.serving.oip import Endpoint, Request
from agent.serving.pipeline import run_pipeline
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.histogram import bucket_of, quantile_us
from contract.messages import ModelInterval, Telemetry
from contract.wire import decode, encode
from controller.api.views import device_fields
from controller.fleet.twin import Twin
from controller.reconcile.fold import fold
from controller.reconcile.world import Durable, World
from firmware_sim.real_models import RealRuntime, make_real_model
from tests.agent.golden_worlds import golden_probes

REQUESTS = 4_000
BAD = 0.2
POLICY = TrialPolicy(soak_s=Decimal(30), min_samples=30, reverse_share=Decimal(0))


class Traffic:
    """Requests through three interfaces, with their expected counts."""

    def __init__(self, slot: ModelSlot) -> None:
        self._slot = slot
        self._rng = Random(7)
        statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
        self._endpoint = Endpoint(lambda: {"plant": slot}, statistics, version="1")
        self.good = self.rows = self.labelled = self.correct = self.unusable = 0
        self.bad: Counter[str] = Counter()

    def send(self) -> None:
        """Sends one request through a random interface."""
        bad, door = self._rng.random() < BAD, self._rng.randrange(3)
        (self._by_http, self._by_array, self._by_row)[door](bad)

    def _by_http(self, bad: bool) -> None:
        rows = self._rng.choice((1, 1, 1, 20))
        tensor: dict[str, Any] = {"name": "X", "shape": [rows, 1], "datatype": "FP32", "data": [0.5] * rows}
        code = Code.TENSORS_INVALID
        if bad:
            changes, code = self._rng.choice(
                [
                    ({"datatype": "INT64"}, Code.TENSORS_INVALID),
                    ({"data": [1e39] * rows}, Code.VALUE_RANGE),
                    ({"name": "Y"}, Code.TENSORS_INVALID),
                ]
            )
            tensor |= changes
        body = json.dumps({"inputs": [tensor]}).encode()
        found = self._endpoint.answer(Request("POST", "/v2/models/plant/infer", body))
        assert found.status == (400 if bad else 200), found.body
        self._note(rows, code if bad else None)

    def _by_array(self, bad: bool) -> None:
        rows = self._rng.choice((1, 1, 1, 500))
        array = np.full((rows, 1), 0.5, dtype=np.float64 if bad else np.float32)
        refused = False
        try:
            self._slot.run({"X": array})
        except BadInput:
            refused = True
        assert refused == bad
        self._note(rows, Code.TENSORS_INVALID if bad else None)

    def _by_row(self, bad: bool) -> None:
        cell, code = (
            self._rng.choice([("warm", Code.SAMPLE_INVALID), ("inf", Code.VALUE_RANGE)]) if bad else (0.5, None)
        )
        label = self._rng.choice(["", None, float("nan"), [1], 1, 1, 1, 0])
        run_pipeline([Sample({"x": cell}, label)], self._slot, Counter())
        self._note(1, code)
        if label == [1]:
            self.unusable += 1
        elif not bad and label in (0, 1):
            self.labelled += 1
            self.correct += label == 1

    def _note(self, rows: int, code: Code | None) -> None:
        if code is None:
            self.good += 1
            self.rows += rows
        else:
            self.bad[code] += 1


def device_with(tmp_path: Path) -> tuple[DeviceModel, Assignment]:
    """A device that has confirmed v1 and has v2 on its disk."""
    models = tuple(make_real_model(number, "good") for number in (1, 2))
    store = Store(PosixDisk(tmp_path))
    for made in models:
        store.write_chunk(made.manifest.artifact, 0, made.artifact)
        store.seal(made.manifest.artifact)
    first, second = (
        Assignment(model="plant", generation=n, manifest=m.manifest, policy=POLICY) for n, m in enumerate(models, 1)
    )
    runtime = RealRuntime(models, lambda path: Path(path).read_bytes())
    slot = ModelSlot("plant", perf_s=time.perf_counter, lock=threading.Lock())
    lineup = Lineup(slot, runtime, store, Counter())
    model = DeviceModel("plant", slot, runtime, lineup, lambda _: None, golden_probes(lineup, runtime))  # type: ignore[arg-type, return-value]
    model.state = Steady(Record(generation=1, stable=first))
    model.load(first, 0.0)
    return model, second


def begin_trial(model: DeviceModel, wanted: Assignment) -> None:
    for event in (
        DesiredChanged(wanted),
        FetchDone(wanted.digest),
        ModelReady(wanted.digest),
        ActivationAllowed(wanted.digest),
    ):
        model.state, _ = machine.step(model.state, event, 0.0)
    assert isinstance(model.state, Trial)
    model.load(wanted, 0.0)


def test_a_trial_among_bad_requests_is_confirmed_and_the_figures_are_exact(tmp_path: Path) -> None:
    model, wanted = device_with(tmp_path)
    begin_trial(model, wanted)
    traffic, world = Traffic(model.slot), World(silent_s=90.0, durable=Durable({"d": Twin("d")}))
    intervals = 0
    for number in range(1, REQUESTS + 1):
        traffic.send()
        if number % (REQUESTS // 10) == 0:
            found = model.judge()
            assert isinstance(found, HealthJudged)
            assert found.verdict != "fail", found
            model.state, _ = machine.step(model.state, found, number / REQUESTS)
            intervals += 1
            sent = Telemetry(
                protocol=1, device="d", boot=1, seq=intervals, interval_s=30.0, intervals=tuple(model.take_intervals())
            )
            fold(world, "d", decode(encode(sent), Telemetry), float(number))
    model.state, _ = machine.step(model.state, TimerFired(), 31.0)
    outcome = model.state.record.outcome
    assert outcome is not None
    assert (outcome.result, outcome.version.release) == ("confirmed", 2)
    world.durable.twins["d"] = replace(world.durable.twins["d"], reported={"plant": model.message()})
    (view,) = device_fields(world.durable.twins["d"], world, 0.0)["models"]
    (measured,) = view.measured
    assert (measured.inferences, measured.rows, measured.errors) == (traffic.good, traffic.rows, 0)
    assert (measured.refused, measured.refused_alone) == (dict(traffic.bad), 0)
    assert measured.inferences + sum(measured.refused.values()) == REQUESTS
    assert 0.18 < sum(measured.refused.values()) / REQUESTS < 0.22
    assert (measured.labelled, measured.labels_unusable) == (traffic.labelled, traffic.unusable)
    assert measured.accuracy == traffic.correct / traffic.labelled
    assert set(measured.faults) == set(traffic.bad)


def test_latencies_are_shown_to_one_bucket(tmp_path: Path) -> None:
    _, wanted = device_with(tmp_path)
    clock, rng, truth = [0.0], Random(3), []

    class Takes:
        def run(self, inputs: Any) -> list[Any]:
            took_s = rng.lognormvariate(-7.0, 1.0)
            clock[0] += took_s
            truth.append(took_s * 1e6)
            return [np.array([1])]

    slot = ModelSlot("plant", perf_s=lambda: clock[0], lock=threading.Lock())
    slot.swap(slot.prepare(wanted, Takes()))
    for _ in range(5000):
        slot.run({"X": np.ones((1, 1), dtype=np.float32)})
    found = slot.take_tally()
    assert isinstance(found, ModelInterval)
    for q in (0.5, 0.95):
        shown = quantile_us(found.latency_counts, q)
        assert shown is not None
        assert bucket_of(shown) == bucket_of(sorted(truth)[int(q * len(truth)) - 1])
