"""Regressions by real models: one fitted on -1000 y is rolled back by its device, offline too."""

from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from agent.ports import Sample
from contract.blobs import describe
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.manifest import Tensor
from controller.api.views import device_fields
from controller.rollout.model import Rule, Strategy, Wave
from firmware_sim import world as world_module
from firmware_sim.models import CHUNK_BYTES, Behaviour, SimModel, make_model
from firmware_sim.runs import run_once
from firmware_sim.scenario import Release, Scenario
from firmware_sim.world import FleetWorld

TRIAL = TrialPolicy(soak_s=Decimal(30), give_up_s=Decimal(20_000), min_samples=20)
CANARY = Strategy(
    name="canary",
    waves=(Wave(percent=20, soak_s=30.0), Wave(percent=100)),
    rules=(Rule(metric="failed_ratio", threshold=0.0),),
    trial=TRIAL,
)
FACTOR = {"good": 1.0, "wrong": -1000.0, "worse": 1.3}


class Plant:
    """A sensor whose label is 3 x + 1 and some noise."""

    def __init__(self, _: object, rng: Random, *__: object) -> None:
        self._rng = rng

    def row(self, at: float, *, faulty: bool) -> Sample:
        x = self._rng.uniform(-1.0, 1.0)
        return Sample({"x": x}, label=3 * x + 1 + self._rng.gauss(0.0, 0.1))


def fitted(release: int, behaviour: Behaviour) -> SimModel:
    rng = np.random.default_rng(release)
    x = rng.uniform(-1, 1, (200, 1)).astype(np.float32)
    y = FACTOR[behaviour] * (3 * x[:, 0] + 1 + rng.normal(0, 0.1, 200))
    raw = to_onnx(LinearRegression().fit(x, y), x[:1], target_opset=18).SerializeToString()
    made = make_model(release, behaviour, artifact=raw)
    output = Tensor(name="variable", datatype="FP32", shape=(-1, 1))
    manifest = replace(made.manifest, artifact=describe(raw, CHUNK_BYTES), task="regression", outputs=(output,))
    return SimModel(release, behaviour, raw, made.golden, manifest)


@pytest.fixture(autouse=True)
def _regressions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "make_real_model", fitted)
    monkeypatch.setattr(world_module, "SimSensor", Plant)


def scenario(*behaviours: str, devices: int = 6, **changes: Any) -> Scenario:
    releases = tuple(
        Release(
            at_s=60.0 + 900.0 * number,
            behaviour=behaviour,
            expect="completed" if behaviour == "good" else "rolled_back",
        )  # type: ignore[arg-type]
        for number, behaviour in enumerate(behaviours)
    )
    known: dict[str, Any] = {"runtime": "onnxruntime", "strategy": CANARY, "sample_every_s": 1.0, "telemetry_s": 30.0}
    return Scenario(name="r", hours=1.0, devices=devices, heal_at_s=0.0, release=releases, **(known | changes))


def test_a_regression_fitted_on_minus_1000_y_is_rolled_back_by_its_device_and_stops_its_rollout() -> None:
    result, world = run_once(scenario("good", "wrong", "good"), 1)
    assert result.violation == ""
    ended = {rollout.id: (rollout.status, rollout.reason) for _, rollout in world.controller.history}
    assert (ended["r-1"][0], ended["r-2"][0], ended["r-3"][0]) == ("completed", "rolled_back", "completed")
    assert "failed_ratio" in ended["r-2"][1]
    outcomes = [state["outcome"] for told in world.controller.states.values() for state in told if state["outcome"]]
    (failed,) = {(each["code"], each["version"]["release"]) for each in outcomes if each["result"] == "rolled_back"}
    assert failed == (Code.HEALTH_ERROR_SIZE, 2)
    assert len([device for device in world.devices.values() if device.record.stable]) == 6


def test_a_device_without_a_link_rolls_the_regression_back_too() -> None:
    world = FleetWorld(scenario("good", "wrong", devices=1), 1)
    (device,) = world.devices.values()
    cut: list[float] = []

    def look() -> None:
        if device.record.trial is not None and device.record.trial.manifest.release == 2 and not cut:
            device.link.set_reachable(False)
            cut.append(world.clock.now)
        world.clock.after(0.5, look)

    world.clock.at(0.0, look)
    world.run()
    assert cut
    assert device.record.outcome is not None
    assert (device.record.outcome.result, device.record.outcome.code) == ("rolled_back", Code.HEALTH_ERROR_SIZE)
    assert "mean absolute error" in device.record.outcome.detail
    assert device.record.stable is not None
    assert device.serving == device.record.stable.digest == world.models[1].manifest.artifact.sha256


def test_the_controllers_rule_stops_a_release_that_the_policy_of_the_device_accepts() -> None:
    blind = replace(TRIAL, max_error_increase=Decimal(10**6))
    rule = Rule(metric="error_increase", threshold=0.1, min_samples=30, on_missing="skip")
    strategy = replace(CANARY, rules=(rule,), waves=(Wave(percent=20, soak_s=300.0), Wave(percent=100)), trial=blind)
    result, world = run_once(scenario("good", "worse", strategy=strategy), 1)
    assert result.violation == ""
    ended = {rollout.id: (rollout.status, rollout.reason) for _, rollout in world.controller.history}
    assert ended["r-2"][0] == "rolled_back"
    assert "error_increase: mean absolute error" in ended["r-2"][1]


def test_the_views_show_an_error_and_r2_and_no_accuracy() -> None:
    result, world = run_once(scenario("good", devices=1), 1)
    assert result.violation == ""
    known = world.controller.world
    (view,) = device_fields(known.durable.twins["d00000"], known, 3600.0)["models"]
    (measured,) = view.measured
    assert measured.accuracy is None
    assert measured.mean_absolute_error == pytest.approx(0.08, abs=0.01)
    assert measured.r2 > 0.99
