"""Edges of the device's update machine: what happens exactly at a limit, and the content of each command."""

import pytest
from msgspec.structs import replace

from agent.core import machine
from agent.core.admission import HighWater
from agent.core.commands import Activate, Fetch, Load, Probe, Prune, Report, Save
from agent.core.events import (
    ActivationAllowed,
    ActivationHeld,
    DesiredChanged,
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
from contract.encoding import ENCODING
from contract.errors import Code
from tests.agent.core_records import (
    A1,
    B2,
    GOOD,
    NOW,
    ON_TRIAL,
    POLICY,
    SHADOW,
    STABLE,
    TRIAL,
    after,
    filled,
    outcome,
    version,
)

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


def test_a_boot_within_the_budget_is_counted_and_starts_the_soak_again() -> None:
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


def test_each_phase_returns_when_it_wants_to_be_called_again() -> None:
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


def test_a_shadow_that_has_passed_has_no_deadline() -> None:
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


# Each phase and its own events.


def test_a_broken_stable_version_is_fetched_again_once() -> None:
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


def test_a_fetch_is_retried_after_a_pause_until_the_last_attempt() -> None:
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


def test_a_fetch_that_cannot_succeed_is_not_retried() -> None:
    state, _ = after(Fetching(STABLE, B2), FetchFailed(B2.digest, "disk_full", "why", retryable=False))
    assert state.record.outcome == outcome(B2, "rejected", "disk_full", "why")
    assert state == Steady(state.record)


def test_a_probe_ends_at_its_deadline_and_not_before() -> None:
    probing = Probing(STABLE, B2, NOW + 40)
    assert after(probing, TimerFired(), now=NOW + 39.9) == (probing, ())
    state, _ = after(probing, TimerFired(), now=NOW + 40)
    assert state.record.outcome == outcome(B2, "rejected", Code.PROBE_TIMEOUT, "the probe never answered")


def test_a_probed_version_reports_once_why_its_trial_waits() -> None:
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


def test_a_trial_starts_with_one_counted_boot_and_the_newest_yardstick_with_enough_labels() -> None:
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
def test_a_trial_that_breaks_or_fails_its_verdict_is_rolled_back(event: Event) -> None:
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


def test_a_trial_on_a_sick_device_is_reported_once_and_ended_with_that_code() -> None:
    sick = HealthJudged(B2.digest, Verdict.INCONCLUSIVE, Code.DEVICE_SICK, "stable fails as much")
    waiting, commands = after(TRIAL, sick)
    assert commands == (Report(Code.DEVICE_SICK, "stable fails as much"),)
    assert after(waiting, sick)[1] == ()
    well, commands = after(waiting, HealthJudged(B2.digest, Verdict.PASS))
    assert commands == (Report("", ""),)
    assert after(well, TimerFired(), now=NOW + 10)[0].record.outcome.result == "confirmed"
    given_up, _ = after(waiting, TimerFired(), now=NOW + 50)
    assert given_up.record.outcome == outcome(B2, "rolled_back", Code.DEVICE_SICK, "stable fails as much")


def test_a_version_with_another_signature_is_refused_unless_the_policy_allows_it() -> None:
    taken = (replace(B2.manifest.inputs[0], datatype="INT64"),)
    other = replace(B2, manifest=replace(B2.manifest, inputs=taken))
    state, commands = after(Steady(STABLE), DesiredChanged(other))
    why = "input 'X' is INT64 [-1, 1], it was FP32 [-1, 1]"
    assert state.record.outcome == outcome(other, "rejected", Code.SIGNATURE_CHANGED, why)
    assert commands == (Save(state.record), Prune(), Report(Code.SIGNATURE_CHANGED, why))
    allowed = replace(other, policy=replace(other.policy, signature="may_change"))
    assert after(Steady(STABLE), DesiredChanged(allowed))[0] == Fetching(STABLE, allowed)
    assert isinstance(after(Steady(Record()), DesiredChanged(other))[0], Fetching)


def test_labels_of_an_older_yardstick_are_kept_if_the_newer_one_has_too_few() -> None:
    newer, older = Baseline(inferences=40, errors=4, labelled=3, correct=1), Baseline(labelled=90, correct=80)
    assert yardstick(newer, older, 20) == Baseline(inferences=40, errors=4, labelled=90, correct=80)
    assert yardstick(newer, older, 3) == newer
    assert (yardstick(None, older, 3), yardstick(newer, None, 9)) == (older, newer)
    regression = Baseline(inferences=40, measured=30, absolute_error_sum=2.0)
    assert yardstick(regression, older, 30) == regression


def test_a_trial_that_could_not_be_judged_is_rolled_back_when_it_ends() -> None:
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


# What holds before any event.


def test_a_window_starts_with_all_counts_at_zero() -> None:
    made = JudgedInferences(5)
    assert (made.seen, made.errors, made.labelled, made.correct, made.compared, made.agreed) == (0, 0, 0, 0, 0, 0)
    assert Inference(1.0).error is None
    assert Inference(1.0).correct is None


def test_new_records_reports_and_failures_have_empty_fields() -> None:
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


def test_names_and_limits_that_other_code_uses_do_not_change() -> None:
    assert [str(verdict) for verdict in Verdict] == ["pass", "fail", "inconclusive"]
    assert ENCODINGS == (ENCODING,)
    assert (MAX_FETCH_ATTEMPTS, PROBE_GRACE_S, FALSE_ALARM) == (6, 30.0, 0.001)
