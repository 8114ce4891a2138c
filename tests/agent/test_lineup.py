"""A trial beside stable: a part of the requests by key, a shadow that is compared, and devices with little memory."""

import weakref
from collections import Counter
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from agent.core.model import Assignment, Record, Steady, Trial, Verdict
from agent.flash.store import Store
from agent.models.device_model import PROVE_EVERY_S, DeviceModel
from agent.ports import Sample
from agent.serving.lineup import Lineup
from agent.serving.shadow import MAX_WAITING, compare
from agent.serving.slot import ModelSlot
from agent.serving.split import Split
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from firmware_sim.clock import stream
from firmware_sim.flash import Flash
from firmware_sim.models import SimModel, SimRuntime, make_model
from tests.agent.golden_worlds import answers_wrongly, golden_probes
from tests.agent.test_truth import Echo

STABLE, WRONG, SAME = make_model(1, "good"), make_model(2, "wrong"), make_model(3, "good")


class Device:
    """A model on a device whose memory and time the test decides."""

    def __init__(self) -> None:
        flash = self.flash = Flash(stream(1, "flash"))
        for made in (STABLE, WRONG, SAME):
            flash.write(f"blob-{made.manifest.artifact.sha256}", made.artifact)
            flash.write(f"blob-{made.manifest.golden.blob.sha256}", made.golden)
        self.spent_s = 0.0
        self.free_mb = 1000.0
        self.dropped: Counter[str] = Counter()
        self.slot = ModelSlot("m", perf_s=lambda: self.spent_s, lock=nullcontext())
        self.runtime = SimRuntime((STABLE, WRONG, SAME), flash.read, self._spend)
        self.runtime.free_mb = lambda: self.free_mb  # type: ignore[method-assign]
        self.lineup = Lineup(self.slot, self.runtime, Store(flash), self.dropped)
        probes = golden_probes(self.lineup, self.runtime)
        self.model = DeviceModel("m", self.slot, self.runtime, self.lineup, None, probes)  # type: ignore[arg-type]
        self.stable = assigned(STABLE)
        self.model.state = Steady(Record(generation=1, stable=self.stable))
        self.model.load(self.stable, 0.0)

    def _spend(self, seconds: float) -> None:
        self.spent_s += seconds

    def try_out(self, made: SimModel, **policy: Any) -> Assignment:
        trial = assigned(made, **policy)
        self.model.state = Trial(Record(generation=2, stable=self.stable, trial=trial), 10.0, 20.0)
        self.model.load(trial, 0.0)
        return trial

    def ask(self, count: int = 1, **sample: Any) -> list[int]:
        found = [self.slot.predict(Sample({"x": 1.0}, **sample)) for _ in range(count)]
        return [prediction.release for prediction in found if prediction is not None]


def assigned(made: SimModel, **policy: Any) -> Assignment:
    return Assignment(model="m", generation=made.release, manifest=made.manifest, policy=TrialPolicy(**policy))


def test_a_key_gets_the_same_version_each_time_and_a_raised_share_only_adds_keys() -> None:
    keys = [f"customer-{number}" for number in range(2000)]
    fifth, half = ({key for key in keys if Split(traffic_share, "v2").has(key)} for traffic_share in (0.2, 0.5))
    assert 0.17 < len(fifth) / len(keys) < 0.23
    assert fifth < half
    assert fifth != {key for key in keys if Split(0.2, "v3").has(key)}


def test_a_trial_with_a_share_answers_its_keys_and_stable_the_others() -> None:
    device = Device()
    device.try_out(WRONG, traffic_share=Decimal("0.3"))
    found = {key: set(device.ask(3, key=key)) for key in map(str, range(300))}
    assert {len(releases) for releases in found.values()} == {1}
    assert 0.2 < sum(releases == {2} for releases in found.values()) / len(found) < 0.4


def test_rows_without_a_key_are_distinguished_by_their_values() -> None:
    device = Device()
    device.try_out(WRONG, traffic_share=Decimal("0.5"))
    releases = [device.slot.predict(Sample({"x": float(x)})).release for x in range(200)]  # type: ignore[union-attr]
    assert 60 < releases.count(2) < 140
    arrays = [np.array([[x]], dtype=np.float32) for x in range(50)]
    assert {bool(device.slot.run({"X": array})[0].item()) for array in arrays} == {True, False}


def test_a_split_trial_is_compared_with_stable_in_the_same_hours() -> None:
    device = Device()
    trial = device.try_out(WRONG, traffic_share=Decimal("0.5"), min_samples=20)
    for number in range(200):
        device.ask(key=str(number), label=1)
    judged = device.model.judge()
    assert judged is not None
    assert (judged.digest, judged.verdict, judged.code) == (trial.digest, Verdict.FAIL, Code.HEALTH_ACCURACY)


def test_a_waiting_trial_reports_inferences_with_rows_and_a_shadow_reports_compared_rows() -> None:
    device = Device()
    device.try_out(SAME, min_samples=20)
    assert device.slot.serving is not None
    device.slot.serving.session = Echo()
    device.slot.run({"X": np.ones((1000, 1), dtype=np.float32)})
    assert device.model.message().detail == "1 of 20 inferences (requests; they had 1,000 rows)"
    device.ask(19)
    assert device.model.message().detail == ""
    beside = Device()
    beside.try_out(SAME, mode="shadow", min_samples=20)
    beside.ask(5)
    beside.model.run_shadow(0.0)
    assert beside.model.message().detail == "5 of 20 inferences"
    beside.ask(15)
    assert beside.model.message().detail == "5 of 20 inferences"
    beside.model.run_shadow(1000.0)
    assert beside.model.message().detail == ""


def test_stable_answers_while_a_shadow_computes_the_same_rows_for_comparison() -> None:
    device = Device()
    device.try_out(WRONG, mode="shadow")
    assert device.ask(10, label=1) == [1] * 10
    device.model.run_shadow(0.0)
    told = {interval.version.release: interval for interval in device.model.take_intervals()}
    assert (told[1].inferences, told[1].correct, told[1].compared) == (10, 10, 0)
    assert (told[2].inferences, told[2].correct, told[2].compared, told[2].agreed) == (10, 0, 10, 0)
    assert sum(told[2].divergence) == 10


def test_a_shadow_gets_tensors_too_and_keeps_no_array_of_the_caller() -> None:
    device = Device()
    device.try_out(SAME, mode="shadow")
    rows = np.array([[1.0]], dtype=np.float32)
    device.slot.run({"X": rows})
    rows[:] = -1.0
    device.model.run_shadow(0.0)
    assert [interval.agreed for interval in device.model.take_intervals() if interval.version.release == 3] == [1]


@pytest.mark.parametrize(("asked", "verdict"), [("0.9", Verdict.FAIL), ("0", Verdict.PASS)])
def test_a_shadow_with_other_answers_fails_if_the_policy_requires_agreement(asked: str, verdict: Verdict) -> None:
    device = Device()
    device.try_out(WRONG, mode="shadow", min_agreement=Decimal(asked), min_samples=30)
    device.ask(40)
    device.model.run_shadow(0.0)
    judged = device.model.judge()
    assert judged is not None
    assert judged.verdict is verdict
    assert judged.code == (Code.HEALTH_AGREEMENT if verdict is Verdict.FAIL else "")


def test_a_shadow_computes_its_share_of_rows() -> None:
    device = Device()
    device.try_out(SAME, mode="shadow", shadow_share=Decimal("0.25"))
    for turn in range(40):
        device.ask(10)
        device.model.run_shadow(100.0 * turn)
    found = {interval.version.release: interval.inferences for interval in device.model.take_intervals()}
    assert found[1] == 400
    assert 70 < found[3] < 130


def test_a_shadow_uses_no_more_than_its_time_budget() -> None:
    device = Device()
    device.try_out(SAME, mode="shadow", max_shadow_cpu=Decimal("0.1"))
    device.ask(10)
    before_s = device.spent_s
    device.model.run_shadow(0.0)
    used_s = device.spent_s - before_s
    device.ask(1)
    device.model.run_shadow(used_s * 5)
    assert device.lineup.shadow is not None
    assert device.lineup.shadow.wake_at() == pytest.approx(used_s * 9)
    device.model.run_shadow(used_s * 9.01)
    assert device.lineup.shadow.wake_at() is None


def test_rows_beyond_the_time_budget_of_a_shadow_are_dropped_and_counted() -> None:
    device = Device()
    device.try_out(SAME, mode="shadow")
    device.ask(MAX_WAITING + 7)
    assert device.dropped["shadow_inferences"] == 7


def test_a_promoted_shadow_serves_with_its_loaded_session() -> None:
    device = Device()
    trial = device.try_out(SAME, mode="shadow")
    candidate = device.lineup.of(trial.digest)
    assert candidate is not None
    device.try_out(SAME)
    assert device.slot.serving is not None
    assert device.slot.serving.session is candidate.session
    assert device.lineup.shadow is None
    assert device.slot.watchers == ()


def test_a_shadow_without_a_stable_version_is_refused() -> None:
    device = Device()
    trial = assigned(SAME, mode="shadow")
    device.model.state = Trial(Record(generation=2, trial=trial), 10.0, 20.0)
    with pytest.raises(WorldError) as caught:
        device.model.load(trial, 0.0)
    assert caught.value.code == Code.SHADOW_ALONE


def test_the_session_beside_a_trial_is_unloaded_when_the_trial_is_decided() -> None:
    device = Device()
    device.try_out(SAME, traffic_share=Decimal("0.5"))
    device.model.state = Steady(Record(generation=2, stable=assigned(SAME)))
    device.model.drop_drained(1.0)
    assert len(device.lineup.loaded) == 1
    assert device.slot.split is None


def test_stable_is_unloaded_first_if_memory_is_short() -> None:
    device = Device()
    device.lineup.memory_mb = {assigned(SAME).digest: 100.0}
    device.free_mb = 120.0
    assert device.slot.serving is not None
    stable = weakref.ref(device.slot.serving.session)
    gone_at_load: list[bool] = []
    load = device.runtime.load
    device.runtime.load = lambda *given, **named: (gone_at_load.append(stable() is None), load(*given, **named))[1]  # type: ignore[method-assign]
    device.try_out(SAME)
    assert device.ask() == [3]
    assert device.dropped["swaps_unloaded_first"] == 1
    assert gone_at_load == [True], "its memory was free before the new session was built"


def test_nothing_is_unloaded_if_memory_is_enough_for_both() -> None:
    device = Device()
    device.lineup.memory_mb = {assigned(SAME).digest: 100.0}
    device.free_mb = 131.0
    device.try_out(SAME)
    assert device.ask() == [3]
    assert device.dropped["swaps_unloaded_first"] == 0


@pytest.mark.parametrize("policy", [{"unload_first": False}, {"mode": "shadow"}, {"traffic_share": Decimal("0.5")}])
def test_a_version_is_refused_if_memory_is_short_and_stable_must_stay(policy: dict[str, Any]) -> None:
    device = Device()
    device.lineup.memory_mb = {assigned(SAME).digest: 100.0}
    device.free_mb = 120.0
    with pytest.raises(WorldError) as caught:
        device.try_out(SAME, **policy)
    assert caught.value.code == Code.MEMORY_SHORT
    assert "130 MB" in caught.value.detail
    assert device.ask() == [1]


def test_stable_is_loaded_again_if_the_new_version_does_not_load() -> None:
    device = Device()
    broken = make_model(5, "fails_to_load")
    device.lineup.memory_mb = {assigned(WRONG).digest: 100.0}
    device.free_mb = 10.0
    device.runtime._by_artifact[WRONG.artifact] = broken
    with pytest.raises(WorldError):
        device.try_out(WRONG)
    assert device.ask() == [1]


@pytest.mark.parametrize(
    ("before", "after", "classifies", "agreed", "bins"),
    [
        ([[1, 2, 3]], [[1, 2, 4]], True, 2, {0: 2, 7: 1}),
        ([[1.0, 2.0]], [[1.05, 3.0]], False, 1, {5: 1, 7: 1}),
        ([[1.0]], [[float("nan")]], False, 0, {9: 1}),
        ([[1, 1], [[0.2, 0.8], [0.1, 0.9]]], [[1, 1], [[0.2, 0.8], [0.15, 0.85]]], True, 2, {0: 1, 5: 1}),
        ([[1, 2]], [[1, 2, 3]], True, 0, {9: 2}),
    ],
)
def test_two_answers_are_compared_row_by_row(
    before: list[Any], after: list[Any], classifies: bool, agreed: int, bins: dict[int, int]
) -> None:
    found = compare([*map(np.array, before)], [*map(np.array, after)], classifies=classifies)
    assert found.agreed == agreed
    assert {at: count for at, count in enumerate(found.divergence) if count} == bins


def test_stable_is_a_proven_way_back_once_it_has_answered_its_golden_set() -> None:
    device = Device()
    assert not device.model.message().stable_proven
    assert device.model.prove(1.0) is None
    assert not device.model.message().stable_proven
    assert device.model.probe_golden(1.0) is None
    assert device.model.message().stable_proven


def test_a_stable_with_wrong_answers_is_no_way_back_and_a_damaged_one_is_fetched_again() -> None:
    device = Device()
    device.runtime.answer_golden = answers_wrongly  # type: ignore[method-assign]
    assert device.model.prove(1.0) is None
    assert device.model.probe_golden(1.0) is not None
    assert not device.model.message().stable_proven
    device.flash.write(f"blob-{STABLE.manifest.golden.blob.sha256}", b"other")
    broken = device.model.prove(1.0 + PROVE_EVERY_S)
    assert broken is not None
    assert (broken.digest, broken.code) == (device.stable.digest, Code.DIGEST_MISMATCH)


def test_a_stable_that_was_not_loaded_for_its_probe_is_probed_as_soon_as_it_is() -> None:
    device = Device()
    loaded = device.lineup.loaded
    device.lineup.of = lambda _digest: None  # type: ignore[method-assign,assignment]  # a trial has the memory
    assert device.model.prove(1.0) is None
    assert device.model.probe_golden(1.0) is None
    assert not device.model.message().stable_proven
    del device.lineup.of
    assert device.lineup.loaded == loaded
    assert device.model.prove(31.0) is None
    assert device.model.message().stable_proven
