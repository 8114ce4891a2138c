"""Stable beside an isolated trial: loaded with it, kept during the trial, dropped after the decision."""

from collections import Counter
from contextlib import nullcontext

import pytest

from agent.core.model import Assignment, Record, Steady, Trial
from agent.flash.store import Store
from agent.models.device_model import DRAIN_S, DeviceModel
from agent.ports import Sample
from agent.serving.lineup import Lineup
from agent.serving.slot import ModelSlot
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from firmware_sim.clock import stream
from firmware_sim.flash import Flash
from firmware_sim.models import SimModel, SimRuntime, make_model
from tests.agent.golden_worlds import golden_probes

STABLE, TRIAL = make_model(1, "good"), make_model(2, "wrong")


def assignment(model: SimModel, *, isolated: bool) -> Assignment:
    policy = TrialPolicy(isolated=isolated)
    return Assignment(model="m", generation=model.release, manifest=model.manifest, policy=policy)


@pytest.fixture
def model() -> DeviceModel:
    """Returns a model that serves stable, with both blobs on flash."""
    flash = Flash(stream(1, "flash"))
    store = Store(flash)
    for made in (STABLE, TRIAL):
        flash.write(f"blob-{made.manifest.artifact.sha256}", made.artifact)
        flash.write(f"blob-{made.manifest.golden.blob.sha256}", made.golden)
    slot = ModelSlot("m", perf_s=lambda: 0.0, lock=nullcontext())
    runtime = SimRuntime((STABLE, TRIAL), flash.read)

    def no_download(_: Assignment) -> object:
        raise AssertionError

    lineup = Lineup(slot, runtime, store, Counter())
    return DeviceModel("m", slot, runtime, lineup, no_download, golden_probes(lineup, runtime))  # type: ignore[arg-type]


def begin_trial(model: DeviceModel, *, isolated: bool, reboot: bool = False) -> None:
    stable, trial = assignment(STABLE, isolated=False), assignment(TRIAL, isolated=isolated)
    if not reboot:
        model.state = Steady(Record(generation=1, stable=stable))
        model.load(stable, 0.0)
    model.state = Trial(Record(generation=2, stable=stable, trial=trial), 10.0, 20.0)
    model.load(trial, 0.0)


@pytest.mark.parametrize("reboot", [False, True])
def test_stable_stays_loaded_beside_an_isolated_trial_and_after_a_reboot(model: DeviceModel, reboot: bool) -> None:
    begin_trial(model, isolated=True, reboot=reboot)
    model.drop_drained(100.0)
    assert model.slot.serving is not None
    assert model.slot.fallback is not None
    assert model.slot.serving.assignment.manifest.release == 2
    assert model.slot.fallback.assignment.manifest.release == 1


def test_stable_is_not_kept_loaded_beside_a_trial_in_this_process(model: DeviceModel) -> None:
    begin_trial(model, isolated=False)
    assert model.slot.fallback is None


def test_inferences_that_stable_answered_during_the_trial_are_reported(model: DeviceModel) -> None:
    begin_trial(model, isolated=True)
    assert model.slot.serving is not None

    def die(_: object) -> list[object]:
        raise WorldError(Code.WORKER_FAILED, "it has ended")

    model.slot.serving.session.run = die  # type: ignore[method-assign, assignment]
    assert model.slot.predict(Sample({"x": 1.0})).release == 1  # type: ignore[union-attr]
    model.state = Steady(Record(generation=2, stable=assignment(TRIAL, isolated=True)))
    model.drop_drained(1.0)
    told = {interval.version.release: (interval.inferences, interval.errors) for interval in model.take_intervals()}
    assert told == {1: (1, 0), 2: (1, 1)}


def test_stable_is_unloaded_once_the_trial_is_decided(model: DeviceModel) -> None:
    begin_trial(model, isolated=True)
    model.state = Steady(Record(generation=2, stable=assignment(TRIAL, isolated=True)))
    assert model.drop_drained(1.0 + DRAIN_S)
    assert model.slot.fallback is None


def test_a_trial_serves_although_stable_does_not_load(model: DeviceModel) -> None:
    gone = without_its_blob()
    trial = assignment(TRIAL, isolated=True)
    model.state = Trial(Record(generation=2, stable=gone, trial=trial), 10.0, 20.0)
    model.load(trial, 0.0)
    assert model.slot.serving is not None
    assert model.slot.fallback is None


def without_its_blob() -> Assignment:
    """A stable whose blob is not on flash."""
    return assignment(make_model(7, "good"), isolated=False)
