"""Edges of the device's pure core: what happens exactly at a limit, and what each order carries."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core import machine
from agent.core.admission import HighWater
from agent.core.commands import Activate, Fetch, Load, Probe, Prune, Report, Save
from agent.core.events import (
    ActivationAllowed,
    ActivationHeld,
    DesiredChanged,
    DesiredRefused,
    DesiredWithdrawn,
    Event,
    FetchDone,
    FetchFailed,
    HealthJudged,
    ModelBroken,
    ModelReady,
    TimerFired,
)
from agent.core.health import judge
from agent.core.judged import Inference, JudgedInferences
from agent.core.limits import ENCODINGS, FALSE_ALARM, MAX_FETCH_ATTEMPTS, PROBE_GRACE_S, backoff_s
from agent.core.model import (
    Assignment,
    Baseline,
    Fetching,
    Probing,
    Ready,
    Record,
    State,
    Steady,
    Trial,
    Verdict,
    yardstick,
)
from contract.desired import TrialPolicy
from contract.encoding import ENCODING
from contract.errors import Code
from contract.messages import UpdateOutcome
from firmware_sim.models import make_model

POLICY = TrialPolicy(soak_s=Decimal(10), give_up_s=Decimal(50), boot_budget=2, min_samples=20)
SHADOW = replace(POLICY, mode="shadow")
NOW = 100.0


def version(release: int, generation: int, policy: TrialPolicy = POLICY) -> Assignment:
    return Assignment(model="m", generation=generation, manifest=make_model(release, "good").manifest, policy=policy)


A1, B2 = version(1, 1), version(2, 2)
GOOD = Baseline(labelled=100, correct=90)
STABLE = Record(generation=1, stable=A1, baseline=GOOD)
ON_TRIAL = Record(generation=2, stable=A1, trial=B2, trial_boots=1, baseline=GOOD)
TRIAL = Trial(ON_TRIAL, soak_until=NOW + 10, give_up_at=NOW + 50)


def after(state: State, *events: Event, now: float = NOW) -> tuple[State, tuple[Any, ...]]:
    commands: tuple[Any, ...] = ()
    for event in events:
        state, commands = machine.step(state, event, now)
    return state, commands


def outcome(assignment: Assignment, result: Any, code: str = "", detail: str = "") -> UpdateOutcome:
    return UpdateOutcome(
        generation=assignment.generation, version=assignment.ref, result=result, code=code, detail=detail
    )


# Health: counts of the newest inferences, and what is judged at the edge of each limit.


def filled(latencies_us: list[float], size: int = 1000) -> JudgedInferences:
    made = JudgedInferences(size)
    for latency_us in latencies_us:
        made.add(Inference(latency_us))
    return made


@pytest.mark.parametrize(("count", "p95"), [(0, 0), (1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (100, 95), (101, 96)])
def test_the_95th_percentile_is_the_smallest_latency_that_95_percent_do_not_exceed(count: int, p95: int) -> None:
    assert filled([float(number) for number in range(count, 0, -1)]).latency_us_p95() == p95


def test_five_slow_answers_in_a_hundred_are_allowed_and_what_chance_explains_is_waited_for() -> None:
    policy = replace(POLICY, max_latency_ms_p95=Decimal(1))
    assert judge(filled([1000.0] * 95 + [9000.0] * 5), policy, None).verdict is Verdict.PASS
    unsure = judge(filled([1000.0] * 84 + [9000.0] * 16), policy, None)
    assert (unsure.verdict, unsure.code) == (Verdict.INCONCLUSIVE, "")
    assert unsure.detail.endswith("over 100 inferences, 1 ms allowed; chance may explain it")
    found = judge(filled([1000.0] * 83 + [9000.0] * 17), policy, None)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_LATENCY)


def test_what_leaves_the_window_is_no_longer_counted() -> None:
    made = JudgedInferences(2)
    made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    made.add(Inference(1.0, None, correct=True))
    assert (made.errors, made.labelled, made.correct) == (1, 1, 1)
    made.add(Inference(1.0, None, correct=False))
    assert (made.errors, made.labelled, made.correct) == (0, 2, 1)
    made.add(Inference(1.0))
    made.add(Inference(1.0))
    assert (made.errors, made.labelled, made.correct, made.seen, len(made)) == (0, 0, 0, 5, 2)


def test_labels_that_were_never_met_are_a_yardstick_too_and_no_labels_are_none() -> None:
    made = JudgedInferences(10)
    assert made.baseline is None
    made.add(Inference(1.0, None, correct=False))
    assert made.baseline == Baseline(labelled=1, correct=0, inferences=1, row_latency_counts=(1,))
    made.add(Inference(2.0, Code.HEALTH_OUTPUT, correct=True))
    assert made.baseline == Baseline(labelled=2, correct=1, inferences=2, errors=1, row_latency_counts=(1, 0, 1))


def shadowed(compared: int, agreed: int, **changes: Any) -> tuple[Verdict, str]:
    made = filled([1.0] * 50)
    half = compared // 2, agreed // 2
    made.compare(*half)
    made.compare(compared - half[0], agreed - half[1])
    assert (made.compared, made.agreed) == (compared, agreed)
    found = judge(made, replace(SHADOW, min_agreement=Decimal("0.9"), **changes), None)
    return found.verdict, found.code


def test_a_shadow_is_judged_from_the_minimum_of_compared_rows_on() -> None:
    assert shadowed(0, 0) == (Verdict.INCONCLUSIVE, "")
    assert shadowed(19, 0) == (Verdict.INCONCLUSIVE, "")
    assert shadowed(20, 0) == (Verdict.FAIL, Code.HEALTH_AGREEMENT)
    assert shadowed(20, 18) == (Verdict.PASS, "")


def test_a_shadow_must_agree_as_often_as_it_was_asked_to_and_no_more() -> None:
    assert shadowed(100, 90) == (Verdict.PASS, "")
    assert shadowed(100, 89) == (Verdict.FAIL, Code.HEALTH_AGREEMENT)
    assert shadowed(0, 0, min_samples=0) == (Verdict.PASS, "")


def test_a_trial_that_serves_is_not_asked_to_agree() -> None:
    assert shadowed(100, 0, mode="serve") == (Verdict.PASS, "")


def labelled(count: int, correct: int, size: int = 1000) -> JudgedInferences:
    made = JudgedInferences(size)
    for number in range(count):
        made.add(Inference(1.0, None, correct=number < correct))
    return made


def test_accuracy_needs_labels_on_both_sides() -> None:
    assert judge(labelled(100, 0), POLICY, Baseline(labelled=0, correct=0)).verdict is Verdict.PASS
    assert judge(labelled(100, 0), POLICY, GOOD).code == Code.HEALTH_ACCURACY
    some = filled([1.0] * 30)
    some.add(Inference(1.0, None, correct=False))
    assert judge(some, POLICY, GOOD).verdict is Verdict.INCONCLUSIVE


def test_accuracy_is_judged_from_the_minimum_of_labels_on() -> None:
    made = filled([1.0] * 10)
    for _ in range(19):
        made.add(Inference(1.0, None, correct=False))
    assert judge(made, POLICY, GOOD).verdict is Verdict.INCONCLUSIVE
    made.add(Inference(1.0, None, correct=False))
    assert judge(made, POLICY, GOOD).verdict is Verdict.FAIL


def test_a_small_yardstick_convicts_nobody_of_a_drop_that_a_large_one_would() -> None:
    worse = labelled(200, 120)
    assert judge(worse, POLICY, Baseline(labelled=10, correct=9)).verdict is Verdict.PASS
    found = judge(worse, POLICY, Baseline(labelled=1000, correct=900))
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ACCURACY)
    assert "0.600 of 200 against 0.900 of 1000" in found.detail


def test_as_many_errors_as_are_allowed_pass_and_the_sentence_gives_the_numbers() -> None:
    policy = replace(POLICY, max_error_ratio=Decimal("0.05"))
    made = filled([1.0] * 38)
    for _ in range(2):
        made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    assert judge(made, policy, None).verdict is Verdict.PASS
    for _ in range(10):
        made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    found = judge(made, policy, None)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ERRORS)
    assert found.detail == "12 of 50 inferences failed, 5.0% allowed"


# The pause after a failed fetch.


def test_the_pause_doubles_up_to_a_minute_and_each_device_adds_up_to_half_of_it() -> None:
    assert [backoff_s(attempt) for attempt in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff_s(2, spread) for spread in (0.0, 0.5, 1.0)] == [4.0, 5.0, 6.0]


# The record: what it keeps on flash.


def test_golden_set_and_artifact_of_both_slots_are_kept() -> None:
    assert Record().kept_digests == ()
    both = [blob.sha256 for each in (A1, B2) for blob in (each.manifest.golden.blob, each.manifest.artifact)]
    assert list(ON_TRIAL.kept_digests) == both
    assert list(STABLE.kept_digests) == both[:2]


# After power-up.


def test_after_power_up_stable_serves() -> None:
    assert machine.resume(STABLE, NOW) == (Steady(STABLE), (Load(A1), Report()))
    assert machine.resume(Record(), NOW) == (Steady(Record()), (Load(None), Report()))


def test_a_boot_within_the_budget_is_counted_and_begins_the_soak_again() -> None:
    counted = replace(ON_TRIAL, trial_boots=2)
    assert machine.resume(ON_TRIAL, NOW) == (
        Trial(counted, NOW + 10, NOW + 50),
        (Save(counted), Load(B2), Report()),
    )


def test_a_boot_past_the_budget_rolls_back_to_stable() -> None:
    state, commands = machine.resume(replace(ON_TRIAL, trial_boots=2), NOW)
    spent = outcome(B2, "rolled_back", Code.BOOT_BUDGET_SPENT, "2 boots in trial")
    back = Record(generation=2, stable=A1, baseline=GOOD, outcome=spent)
    assert (state, commands) == (Steady(back), (Save(back), Load(A1), Prune(), Report()))


# What each phase waits for.


def test_each_phase_says_when_it_wants_to_be_woken() -> None:
    passed = replace(TRIAL, verdict=Verdict.PASS)
    hopeless = replace(passed, soak_until=NOW + 70)
    assert machine.deadline(Steady(STABLE)) is None
    assert machine.deadline(Fetching(STABLE, B2)) is None
    assert machine.deadline(Fetching(STABLE, B2, 1, 105.0)) == 105.0
    assert machine.deadline(Ready(STABLE, B2, NOW, 107.0)) == 107.0
    assert machine.deadline(Probing(STABLE, B2, 140.0)) == 140.0
    assert machine.deadline(TRIAL) == NOW + 50
    assert machine.deadline(passed) == NOW + 10
    assert machine.deadline(hopeless) == NOW + 50


def test_a_shadow_that_has_passed_waits_for_nothing() -> None:
    beside = version(2, 2, SHADOW)
    record = replace(ON_TRIAL, trial=beside)
    state = Trial(record, NOW, NOW + 50, Verdict.PASS)
    done, commands = after(state, TimerFired())
    kept = replace(record, trial_boots=0, outcome=outcome(beside, "shadowed"))
    assert (done.record, commands) == (kept, (Save(kept), Report()))
    assert machine.deadline(done) is None
    assert after(done, TimerFired(), now=NOW + 1000) == (done, ())
    assert after(done, HealthJudged(beside.digest, Verdict.PASS), now=NOW + 1000) == (done, ())
    assert after(done, HealthJudged(beside.digest, Verdict.FAIL, "c", "d"))[0].record.outcome == outcome(
        beside, "rolled_back", "c", "d"
    )


# What a document means.


def test_a_new_version_is_fetched_and_an_older_generation_is_not_acted_on() -> None:
    assert after(Steady(STABLE), DesiredChanged(B2)) == (Fetching(STABLE, B2), (Fetch(B2), Report()))
    assert after(Steady(STABLE), DesiredChanged(version(2, 1))) == (Steady(STABLE), ())
    assert after(Fetching(STABLE, B2), DesiredChanged(version(3, 2))) == (Fetching(STABLE, B2), ())
    newer = version(3, 3)
    assert after(Fetching(STABLE, B2), DesiredChanged(newer)) == (Fetching(STABLE, newer), (Fetch(newer), Report()))


def test_the_newest_generation_is_that_of_the_version_under_way() -> None:
    for state in (Fetching(STABLE, B2), Probing(STABLE, B2, 0.0), Ready(STABLE, B2, 0.0)):
        assert machine.newest_generation(state) == 2
    assert machine.newest_generation(Fetching(replace(STABLE, generation=5), A1)) == 5
    assert machine.newest_generation(TRIAL) == 2


def test_another_version_during_a_trial_rolls_back_first_and_then_fetches() -> None:
    third = version(3, 3)
    superseded = outcome(B2, "rolled_back", Code.SUPERSEDED, "by generation 3")
    back = Record(generation=2, stable=A1, baseline=GOOD, outcome=superseded)
    assert after(TRIAL, DesiredChanged(third)) == (
        Fetching(back, third),
        (Save(back), Load(A1), Prune(), Fetch(third), Report()),
    )


def test_a_new_policy_for_the_trial_is_taken_without_a_new_trial() -> None:
    longer = version(2, 3, replace(POLICY, soak_s=Decimal(99)))
    record = replace(ON_TRIAL, trial=longer, generation=3)
    assert after(TRIAL, DesiredChanged(longer)) == (replace(TRIAL, record=record), (Save(record), Report()))


@pytest.mark.parametrize("change", [{"mode": "shadow"}, {"traffic_share": Decimal("0.5")}, {"isolated": True}])
def test_a_policy_that_changes_who_answers_is_a_new_trial(change: dict[str, Any]) -> None:
    other = version(2, 3, replace(POLICY, **change))
    assert after(TRIAL, DesiredChanged(other)) == (Ready(ON_TRIAL, other, NOW), (Activate(other, NOW),))


def test_a_promotion_that_is_taken_back_goes_on_with_the_trial() -> None:
    again = version(2, 4)
    promoted = Ready(ON_TRIAL, version(2, 3, SHADOW), NOW - 5)
    record = replace(ON_TRIAL, trial=again, generation=4)
    assert after(promoted, DesiredChanged(again)) == (
        Trial(record, NOW + 10, NOW + 50),
        (Save(record), Load(again), Report()),
    )


def test_stable_desired_again_ends_what_was_under_way() -> None:
    again = version(1, 3)
    settled = replace(STABLE, generation=3, stable=again)
    assert after(Fetching(STABLE, B2), DesiredChanged(again)) == (Steady(settled), (Save(settled), Prune(), Report()))
    rolled = replace(settled, outcome=outcome(B2, "rolled_back", Code.SUPERSEDED, "stable is desired again"))
    assert after(TRIAL, DesiredChanged(again)) == (
        Steady(rolled),
        (Save(rolled), Load(again), Prune(), Report()),
    )


def test_a_refusal_by_the_devices_own_configuration_is_decided_at_once() -> None:
    refusal = DesiredRefused(B2, "pinned", "this device holds m at v1")
    decided = replace(STABLE, generation=2, outcome=outcome(B2, "rejected", "pinned", "this device holds m at v1"))
    report = Report("pinned", "this device holds m at v1")
    assert after(Steady(STABLE), refusal) == (Steady(decided), (Save(decided), Prune(), report))
    assert after(Fetching(STABLE, version(3, 1)), refusal) == (Steady(decided), (Save(decided), Prune(), report))
    assert after(Steady(decided), refusal) == (Steady(decided), ())


def test_a_refusal_lets_a_trial_and_a_repair_go_on() -> None:
    refusal = DesiredRefused(version(3, 3), "pinned", "why")
    state, commands = after(TRIAL, refusal)
    assert state == replace(TRIAL, record=state.record)
    assert (state.record.trial, state.record.generation) == (B2, 3)
    assert commands == (Save(state.record), Report("pinned", "why"))
    for repair in (Fetching(STABLE, A1), Probing(STABLE, A1, 140.0)):
        state, commands = after(repair, refusal)
        assert state == replace(repair, record=state.record)
        assert commands == (Save(state.record), Report("pinned", "why"))


def test_a_refusal_while_a_promotion_waits_goes_back_to_the_trial() -> None:
    state, commands = after(Ready(ON_TRIAL, version(2, 3), NOW - 5), DesiredRefused(version(3, 4), "pinned", "why"))
    assert isinstance(state, Trial)
    assert (state.soak_until, state.give_up_at) == (NOW + 10, NOW + 50)
    assert commands == (Save(state.record), Load(B2), Report())


def test_a_model_that_is_no_longer_named_is_let_go_with_its_last_outcome_kept() -> None:
    told = replace(STABLE, outcome=outcome(A1, "confirmed"))
    empty = Record(generation=5, outcome=told.outcome)
    assert after(Steady(told), DesiredWithdrawn(5)) == (Steady(empty), (Save(empty), Load(None), Prune(), Report()))
    assert after(Steady(told), DesiredWithdrawn(1)) == (Steady(told), ())
    assert after(Fetching(told, B2), DesiredWithdrawn(2)) == (Fetching(told, B2), ())
    assert after(Steady(empty), DesiredWithdrawn(6)) == (Steady(empty), ())
    assert after(Fetching(empty, version(2, 6)), DesiredWithdrawn(7))[0] == Steady(replace(empty, generation=7))


# Each phase and its own events.


def test_a_stable_version_that_breaks_is_fetched_again_once() -> None:
    broken = ModelBroken(A1.digest, "load_failed", "torn")
    assert after(Steady(STABLE), broken) == (Fetching(STABLE, A1), (Fetch(A1), Report("load_failed", "torn")))
    repaired = Steady(STABLE, repaired=True)
    assert after(repaired, broken) == (repaired, (Report("load_failed", "torn"),))
    assert after(Steady(STABLE), ModelBroken(B2.digest, "load_failed", "")) == (Steady(STABLE), ())
    assert after(Steady(Record()), broken) == (Steady(Record()), ())


def test_a_repair_that_passes_its_probe_serves_and_one_that_fails_waits_for_a_new_generation() -> None:
    probing = Probing(STABLE, A1, 140.0)
    assert after(probing, ModelReady(A1.digest)) == (Steady(STABLE, repaired=True), (Load(A1), Report()))
    state, _ = after(probing, ModelBroken(A1.digest, "probe_failed", "d"))
    assert state == Steady(replace(STABLE, outcome=outcome(A1, "rejected", "probe_failed", "d")), repaired=True)


def test_a_fetched_version_is_probed_for_as_long_as_its_manifest_allows_and_some_grace() -> None:
    limit_s = B2.manifest.limits.load_s
    assert after(Fetching(STABLE, B2), FetchDone(B2.digest)) == (
        Probing(STABLE, B2, NOW + limit_s + PROBE_GRACE_S),
        (Probe(B2), Report()),
    )


def test_a_fetch_is_tried_again_after_a_pause_of_its_own_until_the_last_attempt() -> None:
    failed = FetchFailed(B2.digest, "transfer_stalled", "why", retryable=True, spread=0.5)
    waiting, commands = after(Fetching(STABLE, B2, attempt=1), failed)
    assert waiting == Fetching(STABLE, B2, attempt=2, retry_at=NOW + backoff_s(1, 0.5))
    assert commands == (Report("transfer_stalled", "why"),)
    assert after(waiting, TimerFired()) == (waiting, ())
    due = NOW + backoff_s(1, 0.5)
    assert after(waiting, TimerFired(), now=due) == (Fetching(STABLE, B2, attempt=2), (Fetch(B2),))
    last = Fetching(STABLE, B2, attempt=MAX_FETCH_ATTEMPTS - 2)
    assert isinstance(after(last, failed)[0], Fetching)
    state, commands = after(last, failed, failed)
    decided = replace(STABLE, generation=2, outcome=outcome(B2, "rejected", "transfer_stalled", "why"))
    assert (state, commands) == (Steady(decided), (Save(decided), Prune(), Report()))


def test_a_fetch_that_cannot_succeed_is_not_tried_again() -> None:
    state, _ = after(Fetching(STABLE, B2), FetchFailed(B2.digest, "disk_full", "why", retryable=False))
    assert state.record.outcome == outcome(B2, "rejected", "disk_full", "why")
    assert state == Steady(state.record)


def test_a_probe_is_given_up_at_its_deadline_and_not_before() -> None:
    probing = Probing(STABLE, B2, NOW + 40)
    assert after(probing, TimerFired(), now=NOW + 39.9) == (probing, ())
    state, _ = after(probing, TimerFired(), now=NOW + 40)
    assert state.record.outcome == outcome(B2, "rejected", Code.PROBE_TIMEOUT, "the probe never answered")


def test_a_probed_version_asks_whether_it_may_be_tried_and_says_once_why_it_waits() -> None:
    ready, commands = after(Probing(STABLE, B2, 140.0), ModelReady(B2.digest))
    assert (ready, commands) == (Ready(STABLE, B2, NOW), (Activate(B2, NOW),))
    held = ActivationHeld(B2.digest, 5.0, "outside_maintenance", "until two")
    waiting, commands = after(ready, held)
    assert waiting == Ready(STABLE, B2, NOW, NOW + 5, "outside_maintenance")
    assert commands == (Report("outside_maintenance", "until two"),)
    assert after(waiting, held, now=NOW + 5) == (replace(waiting, retry_at=NOW + 10), ())
    assert after(waiting, TimerFired(), now=NOW + 4.9) == (waiting, ())
    again = after(waiting, TimerFired(), now=NOW + 5)
    assert again == (replace(waiting, retry_at=None), (Activate(B2, NOW),))


def test_a_trial_begins_with_one_boot_counted_and_the_newest_yardstick_that_has_labels_enough() -> None:
    for measured, kept in (
        (Baseline(labelled=20, correct=19), Baseline(labelled=20, correct=19)),
        (Baseline(labelled=19, correct=19), GOOD),
        (None, GOOD),
    ):
        state, commands = after(Ready(STABLE, B2, NOW - 9), ActivationAllowed(B2.digest, measured))
        record = replace(ON_TRIAL, baseline=kept)
        assert state == Trial(record, NOW + 10, NOW + 50)
        assert commands == (Save(record), Load(B2), Report())
    few = Baseline(labelled=3, correct=3)
    bare = Ready(replace(STABLE, baseline=None), B2, NOW)
    assert after(bare, ActivationAllowed(B2.digest, few))[0].record.baseline == few


@pytest.mark.parametrize("event", [ModelBroken(B2.digest, "c", "d"), HealthJudged(B2.digest, Verdict.FAIL, "c", "d")])
def test_a_trial_that_breaks_or_is_judged_sick_is_rolled_back(event: Event) -> None:
    back = Record(generation=2, stable=A1, baseline=GOOD, outcome=outcome(B2, "rolled_back", "c", "d"))
    assert after(TRIAL, event) == (Steady(back), (Save(back), Load(A1), Prune(), Report()))


def test_a_trial_is_confirmed_at_the_end_of_its_soak_with_what_was_measured() -> None:
    measured = Baseline(labelled=50, correct=40)
    healthy = HealthJudged(B2.digest, Verdict.PASS, measured=measured)
    soaking, commands = after(TRIAL, healthy, now=NOW + 9.9)
    assert (soaking, commands) == (replace(TRIAL, verdict=Verdict.PASS, measured=measured), ())
    assert after(soaking, healthy)[0] is soaking
    good = Record(generation=2, stable=B2, baseline=measured, outcome=outcome(B2, "confirmed"))
    for event in (healthy, TimerFired()):
        assert after(soaking, event, now=NOW + 10) == (Steady(good), (Save(good), Prune(), Report()))


def test_a_trial_on_a_sick_device_says_so_once_and_is_given_up_with_that_code() -> None:
    sick = HealthJudged(B2.digest, Verdict.INCONCLUSIVE, Code.DEVICE_SICK, "stable fails as much")
    waiting, commands = after(TRIAL, sick)
    assert commands == (Report(Code.DEVICE_SICK, "stable fails as much"),)
    assert after(waiting, sick)[1] == ()
    well, commands = after(waiting, HealthJudged(B2.digest, Verdict.PASS))
    assert commands == (Report("", ""),)
    assert after(well, TimerFired(), now=NOW + 10)[0].record.outcome.result == "confirmed"
    given_up, _ = after(waiting, TimerFired(), now=NOW + 50)
    assert given_up.record.outcome == outcome(B2, "rolled_back", Code.DEVICE_SICK, "stable fails as much")


def test_a_version_that_callers_of_stable_cannot_call_is_refused_unless_the_policy_says_it_may() -> None:
    taken = (replace(B2.manifest.inputs[0], datatype="FP64"),)
    other = replace(B2, manifest=replace(B2.manifest, inputs=taken))
    state, commands = after(Steady(STABLE), DesiredChanged(other))
    why = "input 'X' is FP64 [-1, 1], it was FP32 [-1, 1]"
    assert state.record.outcome == outcome(other, "rejected", Code.SIGNATURE_CHANGED, why)
    assert commands == (Save(state.record), Prune(), Report(Code.SIGNATURE_CHANGED, why))
    allowed = replace(other, policy=replace(other.policy, signature="may_change"))
    assert after(Steady(STABLE), DesiredChanged(allowed))[0] == Fetching(STABLE, allowed)
    assert isinstance(after(Steady(Record()), DesiredChanged(other))[0], Fetching)


def test_labels_of_an_older_yardstick_stay_where_the_newer_one_has_too_few() -> None:
    newer, older = Baseline(inferences=40, errors=4, labelled=3, correct=1), Baseline(labelled=90, correct=80)
    assert yardstick(newer, older, 20) == Baseline(inferences=40, errors=4, labelled=90, correct=80)
    assert yardstick(newer, older, 3) == newer
    assert (yardstick(None, older, 3), yardstick(newer, None, 9)) == (older, newer)
    regression = Baseline(inferences=40, measured=30, absolute_error_sum=2.0)
    assert yardstick(regression, older, 30) == regression


def test_a_trial_that_nobody_could_judge_is_rolled_back_when_it_is_given_up() -> None:
    unsure = HealthJudged(B2.digest, Verdict.INCONCLUSIVE)
    assert after(TRIAL, unsure, now=NOW + 49.9) == (TRIAL, ())
    for event in (unsure, TimerFired()):
        state, _ = after(TRIAL, event, now=NOW + 50)
        assert state.record.outcome == outcome(
            B2, "rolled_back", Code.TRIAL_INCONCLUSIVE, "too few inferences to judge"
        )


@pytest.mark.parametrize("state", [Steady(STABLE), Fetching(STABLE, B2), Probing(STABLE, B2, 140.0), TRIAL])
def test_an_event_of_another_phase_or_version_changes_nothing(state: State) -> None:
    digest = "0" * 64
    strangers: list[Event] = [
        FetchDone(digest),
        FetchFailed(digest, "c", "", retryable=False),
        ModelReady(digest),
        ModelBroken(digest, "c", ""),
        ActivationAllowed(digest),
        ActivationHeld(digest, 1.0, "c", ""),
        HealthJudged(digest, Verdict.FAIL),
        TimerFired(),
    ]
    for event in strangers:
        assert after(state, event) == (state, ())


# What holds before anything has happened.


def test_a_window_begins_with_nothing_counted() -> None:
    made = JudgedInferences(5)
    assert (made.seen, made.errors, made.labelled, made.correct, made.compared, made.agreed) == (0, 0, 0, 0, 0, 0)
    assert Inference(1.0).error is None
    assert Inference(1.0).correct is None


def test_a_record_a_report_and_a_failure_say_nothing_unless_they_are_told() -> None:
    record = Record()
    assert (record.generation, record.stable, record.trial, record.trial_boots) == (0, None, None, 0)
    assert (Report().code, Report().detail) == ("", "")
    assert FetchFailed("d", "c", "", retryable=True).spread == 0.0
    judged = HealthJudged("d", Verdict.PASS)
    assert (judged.code, judged.detail, judged.measured) == ("", "", None)
    passed = judge(filled([1.0] * 50), POLICY, None)
    assert (passed.code, passed.detail) == ("", "")
    fresh = HighWater()
    assert (fresh.keyids, fresh.version, fresh.digest, fresh.issued) == ((), 0, "", "")
    assert (A1.delivery, A1.sources, Fetching(record, A1).attempt, Ready(record, A1, NOW).code) == (None, (), 0, "")


def test_the_words_and_limits_that_others_rely_on() -> None:
    assert [str(verdict) for verdict in Verdict] == ["pass", "fail", "inconclusive"]
    assert ENCODINGS == (ENCODING,)
    assert (MAX_FETCH_ATTEMPTS, PROBE_GRACE_S, FALSE_ALARM) == (6, 30.0, 0.001)
