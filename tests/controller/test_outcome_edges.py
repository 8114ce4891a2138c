"""Edges of the state of one device in a rollout: deadlines, attempts, and which outcomes count."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import Code
from contract.messages import VersionRef
from controller.fleet.fit import Form
from controller.rollout.endings import Ending, ending_of
from controller.rollout.model import FINAL, Wave
from controller.rollout.outcome import FAILURES, RETRYABLE, mode_of, retry_at
from controller.rollout.plan import unit_hash
from controller.rollout.promote import why_not_unseen
from tests.controller.rollout_words import RETRYING, STALLED, outcome, told
from tests.controller.rollout_worlds import (
    CANARY,
    NEW,
    STRATEGY,
    broken,
    done,
    fact,
    facts,
    rollout,
)


def test_a_device_waits_until_its_wave_starts() -> None:
    assert outcome(done("d"), member=-1) == "waiting"
    assert outcome(done("d"), member=-1, made=rollout(wave=1)) == "succeeded"


def test_a_stopped_device_counts_neither_as_success_nor_as_failure() -> None:
    assert outcome(done(CANARY), made=rollout(stopped_waves=(0,))) == "stopped"
    assert outcome(broken(CANARY), made=rollout(stopped_waves=(1,))) == "failed"
    assert outcome(done(CANARY), made=rollout(stopped_strata=("",))) == "stopped"


def test_every_variant_of_a_release_counts_as_the_release() -> None:
    small = Form(
        name="int8",
        digest="s" * 64,
        artifact_bytes=1,
        golden_bytes=1,
        release=2,
        hardware=(),
        memory_mb=1,
        opset=18,
        ml_opset=3,
    )
    with_form = rollout(forms=(small,))
    runs_it = told()
    runs_it = replace(runs_it, state=replace(runs_it.state, stable=VersionRef(release=2, digest="s" * 64)))
    assert (outcome(runs_it, made=with_form), outcome(runs_it)) == ("succeeded", "pending")
    assert (with_form.carries(NEW), with_form.carries("x" * 64)) == (True, False)
    member = with_form.members[0]
    assert (with_form.digest_for(member), with_form.digest_for(replace(member, digest="s" * 64))) == (NEW, "s" * 64)


def test_a_report_about_another_release_is_ignored() -> None:
    assert outcome(fact(CANARY, assigned=None, result="rolled_back")) == "pending"
    assert outcome(fact(CANARY, assigned=1, result="rolled_back")) == "pending"


def test_only_an_outcome_of_this_generation_or_a_later_one_counts() -> None:
    assert outcome(told(result="rolled_back", generation=6)) == "pending"
    assert outcome(told(result="rolled_back", generation=7)) == "failed"
    assert outcome(told(result="rolled_back", generation=8)) == "failed"
    assert outcome(replace(told(), state=None), now=50.0) == "pending"


@pytest.mark.parametrize("code", sorted(RETRYABLE - {Code.DEVICE_SICK}))
def test_a_retryable_failure_is_pending_until_the_last_attempt(code: str) -> None:
    for attempt, word in ((1, "pending"), (2, "pending"), (3, "rejected"), (4, "rejected")):
        stuck = told(result="rejected", code=code, attempt=attempt)
        assert outcome(stuck, made=rollout(RETRYING)) == word
    assert outcome(told(result="rolled_back", code=code, attempt=3), made=rollout(RETRYING)) == "failed"
    assert outcome(told(result="rejected", code=code), made=rollout(STRATEGY)) == "rejected"


@pytest.mark.parametrize("code", sorted(set(Code) - RETRYABLE))
def test_every_other_failure_is_final_at_once(code: str) -> None:
    assert outcome(told(result="rejected", code=code), made=rollout(RETRYING)) == "rejected"
    assert outcome(told(result="rolled_back", code=code), made=rollout(RETRYING)) == "failed"
    assert retry_at(rollout(RETRYING), told(result="rejected", code=code)) is None


def test_a_device_whose_stable_version_fails_as_much_is_retried_and_then_excluded() -> None:
    for attempt, word in ((1, "pending"), (2, "pending"), (3, "absent")):
        sick = told(result="rolled_back", code=Code.DEVICE_SICK, attempt=attempt)
        assert outcome(sick, made=rollout(RETRYING)) == word
    assert "absent" not in FAILURES


def test_the_list_of_retryable_failures() -> None:
    assert set(RETRYABLE) == {
        "transfer_stalled",
        "disk_full",
        "disk_failed",
        "memory_short",
        "probe_timeout",
        "trial_inconclusive",
        "device_sick",
    }
    assert set(FAILURES) == {"failed", "rejected", "silent", "regressed"}
    assert set(FINAL) == {"completed", "aborted", "rolled_back"}


def test_a_shadow_that_has_passed_succeeds_only_while_the_wave_is_a_shadow() -> None:
    shadow = replace(STRATEGY, waves=(Wave(percent=20, mode="shadow"), Wave(percent=100)))
    passed = told(result="shadowed", mode="shadow")
    assert (mode_of(rollout(shadow)), mode_of(rollout(shadow, wave=1))) == ("shadow", "serve")
    assert outcome(passed, made=rollout(shadow)) == "succeeded"
    assert outcome(passed, made=rollout(shadow, wave=1)) == "pending"


@pytest.mark.parametrize(
    ("now", "changes", "word"),
    [
        (110.0, {"generation": 6}, "pending"),
        (110.1, {"generation": 6}, "silent"),
        (110.1, {"generation": 6, "presence": "offline"}, "absent"),
        (110.1, {"generation": 6, "presence": "unknown"}, "silent"),
        (210.0, {"generation": 7}, "pending"),
        (210.1, {"generation": 7}, "failed"),
        (210.1, {"generation": 8}, "failed"),
        (210.1, {"generation": 7, "presence": "silent"}, "silent"),
    ],
)
def test_a_deadline_passes_only_after_its_time(now: float, changes: dict[str, Any], word: str) -> None:
    assert outcome(told(offered_at=10.0, **changes), now) == word


def test_a_device_without_a_report_has_not_started() -> None:
    assert outcome(replace(told(), state=None), now=101.0) == "silent"


def test_each_attempt_waits_twice_as_long_plus_up_to_half_by_the_devices_hash() -> None:
    made = rollout(RETRYING)
    spread = 1 + unit_hash("r-1", CANARY) / 2
    assert 1.0 <= spread <= 1.5
    for attempt, pause_s in ((1, 10.0), (2, 20.0)):
        stuck = told(result="rejected", code=STALLED, offered_at=50.0, attempt=attempt)
        assert retry_at(made, stuck) == pytest.approx(50.0 + pause_s * spread)
    assert retry_at(made, told(result="rejected", code=STALLED, attempt=3)) is None


def test_a_device_that_has_not_failed_is_not_offered_again() -> None:
    made = rollout(RETRYING)
    assert retry_at(made, told()) is None
    assert retry_at(made, fact(CANARY, assigned=None, result="rejected", code=STALLED)) is None
    assert retry_at(made, fact(CANARY, assigned=1, result="rejected", code=STALLED)) is None


def test_a_device_that_has_never_reported_ends_with_words_and_without_a_code() -> None:
    mute = replace(told(), state=None)
    made = rollout()
    found = ending_of(made, made.members[0], mute, "failed", None)
    assert found == Ending(outcome="failed", detail="undecided after 200 s, in phase unknown")
    found = ending_of(made, made.members[0], mute, "silent", None)
    assert found == Ending(outcome="silent", detail="it was told, and nothing was heard of it in time")


def test_a_wave_is_seen_once_the_deadline_of_one_of_its_devices_has_passed() -> None:
    world = facts(**{CANARY: told(offered_at=0.0)})
    assert why_not_unseen(rollout(), world, 1.0) != ""
    assert why_not_unseen(rollout(), world, 200.0 + 1.0) == ""
