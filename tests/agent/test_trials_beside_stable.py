"""A trial is judged beside stable: a failure of both is the device's fault, one of the trial alone is its own."""

import json
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.adapters.posix_disk import PosixDisk
from agent.core import machine
from agent.core.events import ActivationAllowed, DesiredChanged, FetchDone, HealthJudged, ModelReady
from agent.core.model import Assignment, Record, Steady, Verdict
from agent.flash.store import Store
from agent.models.device_model import DeviceModel
from agent.ports import Array, Inputs, Sample
from agent.serving.lineup import Lineup
from agent.serving.oip import Endpoint, Request
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from firmware_sim.models import SimModel, SimRuntime, make_model
from tests.agent.golden_worlds import golden_probes

POLICY = TrialPolicy(min_samples=30, signature="may_change")
CALLERS = 1438


class Answers:
    """Answers every row, but raises for those below zero if the test says so."""

    def __init__(self, raises: bool = False) -> None:
        self._raises = raises

    def run(self, inputs: Inputs) -> list[Array]:
        if self._raises and inputs["X"].min() < 0:
            raise RuntimeError("a kernel broke")
        return [np.array([1])]


class Sessions(SimRuntime):
    """Loads sessions as a test says, by release."""

    def __init__(self, models: tuple[SimModel, ...], sessions: dict[int, Any]) -> None:
        super().__init__(models, lambda path: Path(path).read_bytes())
        self._sessions = sessions

    def load(self, artifact: str, manifest: Manifest, policy: TrialPolicy) -> Any:
        return self._sessions[manifest.release]


def on_trial(tmp_path: Path, sessions: dict[int, Any], policy: TrialPolicy = POLICY, **changes: Any) -> DeviceModel:
    """A device that has confirmed v1 and tries v2."""
    models = make_model(1, "good"), make_model(2, "good")
    store = Store(PosixDisk(tmp_path))
    for made in models:
        store.write_chunk(made.manifest.artifact, 0, made.artifact)
        store.seal(made.manifest.artifact)
    stable = Assignment(model="m", generation=1, manifest=models[0].manifest, policy=policy)
    wanted = Assignment(model="m", generation=2, manifest=replace(models[1].manifest, **changes), policy=policy)
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=threading.Lock())
    runtime = Sessions(models, sessions)
    lineup = Lineup(slot, runtime, store, Counter())
    model = DeviceModel("m", slot, runtime, lineup, lambda _: None, golden_probes(lineup, runtime))  # type: ignore[arg-type, return-value]
    model.state = Steady(Record(generation=1, stable=stable))
    model.load(stable, 0.0)
    digest = wanted.digest
    for event in (DesiredChanged(wanted), FetchDone(digest), ModelReady(digest), ActivationAllowed(digest)):
        model.state, _ = machine.step(model.state, event, 0.0)
    model.load(wanted, 0.0)
    return model


def judged(model: DeviceModel) -> HealthJudged:
    found = model.judge()
    assert found is not None
    return found


def ask(model: DeviceModel, value: float) -> None:
    try:
        model.slot.predict(Sample({"x": value}))
    except BadInput:
        return


def test_a_trial_that_refuses_every_caller_of_stable_is_rolled_back_within_ten_requests(tmp_path: Path) -> None:
    taken = (replace(make_model(2, "good").manifest.inputs[0], datatype="INT64"),)
    model = on_trial(tmp_path, {1: Answers(), 2: Answers()}, inputs=taken)
    endpoint = Endpoint(
        lambda: {"m": model.slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1"
    )
    body = json.dumps({"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}).encode()
    refused = 0
    for _ in range(CALLERS):
        assert endpoint.answer(Request("POST", "/v2/models/m/infer", body)).status == 400
        refused += 1
        found = judged(model)
        if found.verdict is Verdict.FAIL:
            break
    assert (found.code, refused <= 10) == (Code.HEALTH_REFUSALS, True)
    assert "datatype: 'FP32', the model takes INT64" in found.detail


def test_rows_that_stable_refuses_too_do_not_count_against_a_trial(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(), 2: Answers()}, nan="refuse")
    for _ in range(100):
        model.slot.predict(Sample({"x": 1.0}))
        with pytest.raises(BadInput):
            model.slot.predict(Sample({"x": "warm"}))
    assert judged(model).verdict is Verdict.PASS
    for _ in range(100):
        with pytest.raises(BadInput):
            model.slot.predict(Sample({"x": None}))
    assert judged(model).code == Code.HEALTH_REFUSALS, "stable took a missing number"


REVERSED = replace(POLICY, reverse_share=Decimal(1), max_shadow_cpu=Decimal(1))


def run_shadow(model: DeviceModel) -> None:
    for second in range(100):
        model.run_shadow(float(1000 * second))


def test_if_stable_fails_on_the_same_rows_the_device_is_reported_as_faulty_and_not_the_version(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(raises=True), 2: Answers(raises=True)}, REVERSED)
    for number in range(60):
        ask(model, -1.0 if number % 2 else 1.0)
        run_shadow(model)
    found = judged(model)
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, Code.DEVICE_SICK)
    assert "RuntimeError: a kernel broke" in found.detail


def test_if_stable_answers_the_same_rows_the_trial_fails(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(), 2: Answers(raises=True)}, REVERSED)
    for number in range(60):
        ask(model, -1.0 if number % 2 else 1.0)
        run_shadow(model)
    found = judged(model)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ERRORS)


def test_stable_is_judged_by_inferences_since_the_start_of_the_trial(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(raises=True), 2: Answers(raises=True)}, REVERSED)
    stable = model.state.record.stable
    assert stable is not None
    beside = model.lineup.of(stable.digest)
    assert beside is not None
    assert len(beside.observed.judged_inferences) == 0


def test_one_bad_row_in_thirty_causes_no_roll_back(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(), 2: Answers(raises=True)})
    for number in range(300):
        ask(model, -1.0 if number % 30 == 29 else 1.0)
        found = model.judge()
        assert found is None or found.verdict is not Verdict.FAIL, (number, found)


def test_a_version_whose_intervals_cannot_be_sent_does_not_stop_those_of_others(tmp_path: Path) -> None:
    model = on_trial(tmp_path, {1: Answers(), 2: Answers()}, REVERSED)
    for _ in range(20):
        ask(model, 1.0)
        run_shadow(model)
    trial, stable = model.lineup.loaded

    def breaks() -> None:
        raise ValueError("no such shape")

    trial.take_interval = breaks  # type: ignore[method-assign, assignment]
    assert [interval.version.release for interval in model.take_intervals()] == [1]
    assert model.slot.dropped["intervals_skipped"] == 1
    assert stable.assignment.manifest.release == 1
