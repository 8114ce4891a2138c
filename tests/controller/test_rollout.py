"""The rollout engine's decisions: offers, waves, trips, the ways back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.fleet.exclusion import Exclusion
from controller.rollout.decide import Decision, Offer, decide
from controller.rollout.explain import explain
from controller.rollout.model import Rollout, Rule, Strategy, Wave
from controller.rollout.outcome import outcome_of, retry_at
from controller.rollout.plan import Target, join
from controller.rollout.rows import Rows
from tests.controller.rollout_worlds import (
    CANARY,
    DEVICES,
    OLD,
    STRATEGY,
    broken,
    cells,
    done,
    fact,
    facts,
    rollout,
    sums,
    targets,
)


def step(state: Rollout, world: dict[str, Any], now: float = 0.0, measured: Any = None) -> Decision:
    return decide(state, world, measured or Rows(), now)


def outcome(given_fact: Any, now: float = 0.0, **fields: Any) -> str:
    """Returns the outcome of the canary."""
    made = rollout(**fields)
    return outcome_of(made, made.members[0], given_fact, now)


def test_only_the_canary_is_offered_the_release() -> None:
    assert step(rollout(), facts()).offers == (Offer(CANARY, "m", 2),)


def test_the_same_facts_give_the_same_commands_and_new_facts_none_twice() -> None:
    first = step(rollout(), facts())
    assert step(first.rollout, facts(), 1.0).offers == first.offers
    told = facts(**{CANARY: fact(CANARY, assigned=2)})
    assert step(first.rollout, told, 2.0).offers == ()


def test_the_next_wave_waits_for_the_soak_of_the_wave_before() -> None:
    world = facts(**{CANARY: done(CANARY)})
    noticed = step(rollout(), world, 50.0).rollout
    assert (noticed.wave, noticed.wave_done_at) == (0, 50.0)
    assert step(noticed, world, 59.0).rollout == noticed
    promoted = step(noticed, world, 60.0).rollout
    assert (promoted.wave, promoted.wave_began_at, promoted.wave_done_at) == (1, 60.0, None)
    assert len(step(promoted, world, 61.0).offers) == 4


def test_a_rollout_completes_when_the_last_wave_is_done() -> None:
    everywhere = {device: done(device) for device in DEVICES}
    at_end = rollout(wave=1, wave_done_at=10.0)
    at_last = step(at_end, everywhere, 10.0)
    assert at_last.rollout.status == "completed"
    assert decide(at_last.rollout, everywhere, Rows(), 11.0, at_last.endings) == Decision(at_last.rollout)


def test_a_failed_canary_is_quarantined_and_the_rollout_is_rolled_back_with_the_reason() -> None:
    after = step(rollout(), facts(**{CANARY: broken(CANARY)}), 5.0)
    assert (after.rollout.status, after.offers, after.quarantined) == ("rolling_back", (), (CANARY,))
    assert "1 of 1 decided devices failed" in after.rollout.reason


def test_a_roll_back_offers_the_last_confirmed_release_and_ends_when_devices_report_it() -> None:
    rolling = rollout(status="rolling_back")
    assert step(rolling, facts(**{CANARY: done(CANARY)})).offers == (Offer(CANARY, "m", 1),)
    still_new = facts(**{CANARY: fact(CANARY, assigned=1, stable=2)})
    waiting = step(rolling, still_new)
    assert (waiting.rollout, waiting.offers) == (replace(rolling, returning_since=0.0), ())
    assert step(rolling, facts()).rollout.status == "rolled_back"


def test_an_offline_device_does_not_delay_a_roll_back_and_still_gets_its_document() -> None:
    rolling = rollout(status="rolling_back")
    away = facts(**{CANARY: done(CANARY, presence="offline")})
    assert step(rolling, away).offers == (Offer(CANARY, "m", 1),)
    away = facts(**{CANARY: fact(CANARY, assigned=1, stable=2, presence="offline")})
    assert step(rolling, away).rollout.status == "rolled_back"


def test_a_device_without_a_confirmed_release_is_offered_none() -> None:
    members = tuple(replace(member, previous_release=0) for member in rollout().members)
    rolling = rollout(status="rolling_back", members=members)
    assert step(rolling, facts(**{CANARY: fact(CANARY, assigned=2, stable=None)})).offers == (Offer(CANARY, "m", 0),)


def test_an_abort_reaches_devices_in_every_phase_and_keeps_confirmed_ones() -> None:
    one, two, three, four, five = DEVICES
    world = {
        one: done(one),
        two: fact(two, assigned=2, generation=3),
        three: fact(three, assigned=2),
        four: broken(four),
        five: fact(five),
    }
    aborting = step(rollout(wave=1, status="aborting"), world)
    assert {offer.device for offer in aborting.offers} == {two, three, four}
    assert {offer.release for offer in aborting.offers} == {1}
    settled = world | {device: fact(device) for device in (two, three, four)}
    assert step(aborting.rollout, settled).rollout.status == "aborted"


def test_a_paused_rollout_offers_to_no_device_and_rules_still_judge() -> None:
    paused = rollout(status="paused")
    assert step(paused, facts()).offers == ()
    assert step(paused, facts(**{CANARY: broken(CANARY)})).rollout.status == "rolling_back"


def test_a_pausing_rule_that_still_fails_does_not_change_a_paused_rollout_again() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="pause"),))
    paused = step(rollout(strategy), facts(**{CANARY: broken(CANARY)})).rollout
    assert paused.status == "paused"
    assert step(paused, facts(**{CANARY: broken(CANARY)}), 9.0).rollout == paused


def test_failures_from_before_a_resume_do_not_trip_again_and_new_ones_do() -> None:
    first, second = (member.device for member in rollout().members[:2])
    resumed = rollout(wave=1, acknowledged=(first,))
    assert step(resumed, facts(**{first: broken(first)})).rollout.status == "running"
    both = facts(**{first: broken(first), second: broken(second)})
    assert step(resumed, both).rollout.status == "rolling_back"


def test_measurements_before_a_resume_do_not_trip_again() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="error_ratio", threshold=0.1, min_samples=50),))
    measured = cells(sums(500, errors=400), at=0.0)
    world = facts(**{CANARY: fact(CANARY, assigned=2)})
    assert step(rollout(strategy), world, 130.0, measured).rollout.status == "rolling_back"
    assert step(rollout(strategy, evidence_since=100.0), world, 130.0, measured).rollout.status == "running"


@pytest.mark.parametrize(
    ("now", "changes", "expected"),
    [
        (99.0, {"generation": 6}, "pending"),
        (101.0, {"generation": 6}, "silent"),
        (101.0, {"generation": 6, "presence": "offline"}, "absent"),
        (101.0, {"generation": 7}, "pending"),
        (201.0, {"generation": 7}, "failed"),
        (201.0, {"generation": 7, "presence": "silent"}, "silent"),
        (201.0, {"generation": 7, "presence": "offline"}, "silent"),
    ],
    ids=["told", "never began", "was offline", "is at it", "too slow", "fell silent", "went offline in mid-update"],
)
def test_every_phase_has_a_deadline(now: float, changes: dict[str, Any], expected: str) -> None:
    assert outcome(fact(CANARY, assigned=2, **changes), now) == expected


def test_success_is_what_the_device_reports_and_not_what_it_was_offered() -> None:
    assert outcome(fact(CANARY, assigned=2)) == "pending"
    assert outcome(fact(CANARY, assigned=1, stable=2)) == "succeeded"


def test_a_device_that_had_confirmed_and_runs_another_version_has_regressed_and_counts() -> None:
    regressed = fact(CANARY, assigned=2, stable=1, result="confirmed")
    assert outcome(regressed) == "regressed"
    assert step(rollout(), facts(**{CANARY: regressed})).rollout.status == "rolling_back"


def test_a_pass_takes_at_most_one_step() -> None:
    everywhere = {device: done(device) for device in DEVICES}
    state, seen = rollout(), []
    for second in range(30):
        state = step(state, everywhere, float(second)).rollout
        seen.append((state.wave, state.status))
    assert seen[0] == (0, "running")
    assert (1, "running") in seen
    assert seen[-1] == (1, "completed")


@given(
    st.lists(st.sampled_from(["told", "done", "broken", "untold", "away"]), min_size=5, max_size=5), st.integers(0, 3)
)
def test_two_passes_in_a_row_give_the_same_commands_for_any_facts(words: list[str], wave: int) -> None:
    made = {
        "told": lambda d: fact(d, assigned=2),
        "done": done,
        "broken": broken,
        "untold": fact,
        "away": lambda d: fact(d, assigned=2, generation=3, presence="offline"),
    }
    world = {device: made[word](device) for device, word in zip(DEVICES, words, strict=True)}
    first = step(rollout(wave=min(wave, 1)), world, 5.0)
    assert step(rollout(wave=min(wave, 1)), world, 5.0) == first
    again = step(first.rollout, world, 5.0)
    moved = (again.rollout.wave != first.rollout.wave) + (again.rollout.status != first.rollout.status)
    assert moved <= 1


def test_a_held_wave_waits_for_an_operator() -> None:
    strategy = replace(STRATEGY, waves=(Wave(percent=20, hold=True), Wave(percent=100)))
    world = facts(**{CANARY: done(CANARY)})
    held = rollout(strategy, wave_done_at=0.0)
    assert step(held, world, 1e6).rollout.wave == 0
    assert step(replace(held, promoted=0), world, 1.0).rollout.wave == 1


def test_promoting_ends_a_soak_and_an_undecided_rule_and_not_a_failing_one() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="error_ratio", threshold=0.1, min_samples=50),))
    world = facts(**{CANARY: done(CANARY)})
    waits = rollout(strategy, wave_done_at=0.0, promoted=0)
    assert step(waits, world, 1.0).rollout.wave == 1
    assert step(waits, world, 1.0, cells(sums(500, errors=400))).rollout.status == "rolling_back"


TWO_KINDS = [*targets([f"a{n}" for n in range(4)], "arm"), *targets([f"x{n}" for n in range(4)], "x86")]
BY_KIND = replace(
    STRATEGY,
    waves=(Wave(percent=25), Wave(percent=100)),
    rules=(replace(STRATEGY.rules[0], scope="stratum", on_fail="roll_back_stratum"),),
)


def test_a_failing_stratum_rolls_back_alone_and_the_others_continue() -> None:
    made = rollout(BY_KIND, among=TWO_KINDS)
    arm, x86 = (next(m.device for m in made.members if m.stratum == kind) for kind in ("arm", "x86"))
    world = {target.device: fact(target.device) for target in TWO_KINDS}
    world |= {arm: broken(arm), x86: done(x86)}
    after = step(made, world, 1.0).rollout
    assert (after.status, after.stopped_strata) == ("running", ("arm",))
    assert "failed_ratio on arm" in after.reason
    going = step(after, world, 2.0)
    assert going.offers == (Offer(arm, "m", 1),)
    world[arm] = fact(arm)
    for second in range(3, 8):
        after = step(after, world, float(second)).rollout
    assert after.wave == 1
    assert {offer.device[0] for offer in step(after, world, 9.0).offers} == {"x"}


def test_all_devices_roll_back_when_every_stratum_fails() -> None:
    made = rollout(BY_KIND, among=TWO_KINDS, stopped_strata=("arm",))
    x86 = next(member.device for member in made.members if member.stratum == "x86")
    world = {target.device: fact(target.device) for target in TWO_KINDS} | {x86: broken(x86)}
    assert step(made, world).rollout.status == "rolling_back"


def test_a_failing_wave_rolls_back_and_the_rollout_waits() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="roll_back_wave"),))
    second = next(member.device for member in rollout().members if member.wave == 1)
    world = facts(**{CANARY: done(CANARY), second: broken(second)})
    after = step(rollout(strategy, wave=1), world).rollout
    assert (after.status, after.stopped_waves) == ("paused", (1,))
    assert step(after, world).offers == (Offer(second, "m", 1),)
    assert step(after, world).rollout == after


@pytest.mark.parametrize(
    ("on_fail", "status"),
    [("pause", "paused"), ("abort", "aborting"), ("roll_back", "rolling_back")],
)
def test_on_fail_decides_what_happens(on_fail: str, status: str) -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="failed_ratio", threshold=0.0, on_fail=on_fail),))  # type: ignore[arg-type]
    assert step(rollout(strategy), facts(**{CANARY: broken(CANARY)})).rollout.status == status


SHADOW = replace(STRATEGY, waves=(Wave(percent=20, mode="shadow"), Wave(percent=20), Wave(percent=100)), rules=())


def test_a_shadow_wave_is_offered_as_a_shadow_and_then_the_same_devices_serve() -> None:
    made = rollout(SHADOW)
    assert step(made, facts()).offers == (Offer(CANARY, "m", 2, "shadow"),)
    passed = facts(**{CANARY: fact(CANARY, assigned=2, result="shadowed", mode="shadow")})
    noticed = step(made, passed, 1.0).rollout
    serving = step(noticed, passed, 2.0).rollout
    assert serving.wave == 1
    assert step(serving, passed, 3.0).offers == (Offer(CANARY, "m", 2, "serve"),)
    assert outcome_of(serving, serving.members[0], passed[CANARY], 3.0) == "pending"


def test_a_fleet_of_one_device_serves_after_its_shadow() -> None:
    made = rollout(SHADOW, among=targets(["d0"]))
    world = {"d0": fact("d0", assigned=2, result="shadowed", mode="shadow")}
    for second in range(4):
        made = step(made, world, float(second)).rollout
    assert (made.wave, made.status) == (1, "running")
    world = {"d0": done("d0")}
    for second in range(4, 8):
        made = step(made, world, float(second)).rollout
    assert made.status == "completed"


def test_before_the_second_wave_every_device_must_have_a_proven_way_back() -> None:
    world = facts(**{CANARY: done(CANARY), "d1": fact("d1", proven=False), "d2": fact("d2", proven=False)})
    ready = rollout(wave_done_at=0.0)
    waiting = [device for device in ("d1", "d2") if device != CANARY]
    assert step(ready, world, 100.0).rollout.wave == 0
    assert waiting[0] in " ".join(explain(ready, world, (), 100.0))
    assert step(rollout(replace(STRATEGY, preflight=False), wave_done_at=0.0), world, 100.0).rollout.wave == 1
    away = world | {device: fact(device, proven=False, presence="offline") for device in waiting}
    assert step(ready, away, 100.0).rollout.wave == 1


def test_a_retryable_failure_is_retried_with_growing_pauses_and_then_counts() -> None:
    strategy = replace(STRATEGY, attempts=3, retry_s=10.0)
    for attempt, wait_s in ((1, 10.0), (2, 20.0)):
        stuck = fact(CANARY, assigned=2, result="rejected", code="transfer_stalled", offered_at=50.0, attempt=attempt)
        world = facts(**{CANARY: stuck})
        assert step(rollout(strategy), world, 50.0 + wait_s - 1).offers == ()
        again = (Offer(CANARY, "m", 2, "serve", attempt + 1),)
        assert step(rollout(strategy), world, 50.0 + 1.5 * wait_s).offers == again
    last = fact(CANARY, assigned=2, result="rejected", code="transfer_stalled", attempt=3)
    assert step(rollout(strategy), facts(**{CANARY: last})).rollout.status == "rolling_back"
    final = fact(CANARY, assigned=2, result="rejected", code="probe_mismatch")
    assert step(rollout(strategy), facts(**{CANARY: final})).rollout.status == "rolling_back"


def test_later_attempts_are_spread_by_device_and_keep_the_limit_of_devices_in_progress() -> None:
    strategy = replace(STRATEGY, waves=STRATEGY.waves[1:], attempts=2, retry_s=10.0, max_concurrent=2, rules=())
    due = {retry_at(rollout(strategy), stuck(device)) for device in DEVICES}
    assert len(due) == len(DEVICES)
    assert all(60.0 <= at <= 65.0 for at in due if at is not None)
    world = {device: stuck(device) for device in DEVICES}
    assert len(step(rollout(strategy), world, 70.0).offers) == 2


def stuck(device: str) -> Any:
    return fact(device, assigned=2, result="rejected", code="transfer_stalled", offered_at=50.0)


def test_a_late_device_joins_at_the_end_and_is_reached_after_completion_too() -> None:
    joined = join(rollout(), [Target("late")], {}, {})
    assert joined.members[-1] == replace(joined.members[-1], device="late", wave=1, late=True)
    assert joined.plan_digest == rollout().plan_digest, "what was approved is not changed by who comes later"
    world = facts() | {"late": fact("late", assigned=None, stable=None)}
    completed = replace(joined, status="completed", wave=1)
    assert decide(completed, world, Rows(), 0.0).offers == (Offer("late", "m", 2),)


def test_a_changed_plan_has_another_digest() -> None:
    digests = {
        rollout().plan_digest,
        rollout(replace(STRATEGY, deadline_s=1.0)).plan_digest,
        rollout(digest=OLD).plan_digest,
        rollout(among=targets([*DEVICES, "d9"])).plan_digest,
    }
    assert len(digests) == 4
    assert rollout(wave=1, status="paused").plan_digest == rollout().plan_digest


@pytest.mark.parametrize(
    ("changes", "world", "said"),
    [
        ({}, {}, "r-1 brings m v2 by s."),
        ({"status": "proposed", "created_by": "anna"}, {}, "waits for somebody other than anna to approve plan"),
        ({"status": "paused", "reason": "pause by ben"}, {}, "It is paused, because pause by ben"),
        ({}, {CANARY: fact(CANARY, assigned=2)}, "1 of 5 devices have had their turn: 1 pending"),
        ({"wave_done_at": 0.0}, {CANARY: done(CANARY)}, "It soaks for 7 s more."),
        ({"status": "rolled_back", "reason": "failed_ratio: 1 of 1"}, {}, "rolled back; every device"),
    ],
    ids=["name", "proposed", "paused", "devices", "soak", "end"],
)
def test_a_rollout_explains_its_state(changes: dict[str, Any], world: dict[str, Any], said: str) -> None:
    assert said in " ".join(explain(rollout(**changes), facts(**world), (), 3.0))


def test_the_explanation_names_the_rule_that_waits_and_its_numbers() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="error_ratio", threshold=0.1, min_samples=50),))
    found = step(rollout(strategy, wave_done_at=0.0), facts(**{CANARY: done(CANARY)}), 20.0, cells(sums(7)))
    words = " ".join(explain(found.rollout, facts(**{CANARY: done(CANARY)}), found.verdicts, 20.0))
    assert "Rule error_ratio cannot say yet: 7 inferences of the release, 50 needed." in words


def test_a_strategy_and_a_rollout_are_read_back_from_the_table() -> None:
    made = rollout(
        BY_KIND, among=TWO_KINDS, stopped_strata=("arm",), excluded={"z": Exclusion("pinned", "pinned at v1")}
    )
    assert msgspec.convert(msgspec.to_builtins(made), Rollout) == made
    assert msgspec.convert(msgspec.to_builtins(BY_KIND), Strategy) == BY_KIND
