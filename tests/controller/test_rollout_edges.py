"""Where a device stands, what is offered and when a wave ends: exactly at each limit."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import Code
from contract.messages import VersionRef
from controller.fleet.fit import Form
from controller.rollout.analysis import RuleVerdict
from controller.rollout.decide import Decision, Offer, decide, unproven
from controller.rollout.explain import explain
from controller.rollout.model import FINAL, Member, Rollout, Rule, Wave
from controller.rollout.outcome import FAILURES, RETRYABLE, mode_of, outcome_of, retry_at
from controller.rollout.pace import allowed, due
from controller.rollout.plan import Target, expand, join, member_of, plan_members, rank, unit_hash
from tests.controller.rollout_worlds import (
    CANARY,
    DEVICES,
    NEW,
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

RETRYING = replace(STRATEGY, attempts=3, retry_s=10.0)
STALLED = "transfer_stalled"


def outcome(given: Any, now: float = 0.0, made: Rollout | None = None, member: int = 0) -> str:
    made = made or rollout()
    return outcome_of(made, made.members[member], given, now)


def told(**fields: Any) -> Any:
    return fact(CANARY, assigned=2, **fields)


# Where one device stands.


def test_a_device_waits_until_its_wave_has_come() -> None:
    assert outcome(done("d"), member=-1) == "waiting"
    assert outcome(done("d"), member=-1, made=rollout(wave=1)) == "succeeded"


def test_a_stopped_device_counts_neither_way() -> None:
    assert outcome(done(CANARY), made=rollout(stopped_waves=(0,))) == "stopped"
    assert outcome(broken(CANARY), made=rollout(stopped_waves=(1,))) == "failed"
    assert outcome(done(CANARY), made=rollout(stopped_strata=("",))) == "stopped"


def test_a_release_is_carried_in_any_of_its_forms() -> None:
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


def test_what_was_told_about_another_release_says_nothing_about_this_one() -> None:
    assert outcome(fact(CANARY, assigned=None, result="rolled_back")) == "pending"
    assert outcome(fact(CANARY, assigned=1, result="rolled_back")) == "pending"


def test_only_an_outcome_of_this_generation_or_a_later_one_counts() -> None:
    assert outcome(told(result="rolled_back", generation=6)) == "pending"
    assert outcome(told(result="rolled_back", generation=7)) == "failed"
    assert outcome(told(result="rolled_back", generation=8)) == "failed"
    assert outcome(replace(told(), state=None), now=50.0) == "pending"


@pytest.mark.parametrize("code", sorted(RETRYABLE - {Code.DEVICE_SICK}))
def test_a_failure_that_may_pass_is_pending_until_the_last_attempt(code: str) -> None:
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


def test_a_device_whose_stable_version_fails_as_much_is_asked_again_and_then_counts_neither_way() -> None:
    for attempt, word in ((1, "pending"), (2, "pending"), (3, "absent")):
        sick = told(result="rolled_back", code=Code.DEVICE_SICK, attempt=attempt)
        assert outcome(sick, made=rollout(RETRYING)) == word
    assert "absent" not in FAILURES


def test_which_failures_may_pass_by_themselves() -> None:
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
def test_a_deadline_is_over_only_after_it(now: float, changes: dict[str, Any], word: str) -> None:
    assert outcome(told(offered_at=10.0, **changes), now) == word


def test_a_device_that_never_said_anything_has_not_begun() -> None:
    assert outcome(replace(told(), state=None), now=101.0) == "silent"


def test_each_attempt_waits_twice_as_long_and_up_to_half_more_by_the_devices_own_hash() -> None:
    made = rollout(RETRYING)
    spread = 1 + unit_hash("r-1", CANARY) / 2
    assert 1.0 <= spread <= 1.5
    for attempt, pause_s in ((1, 10.0), (2, 20.0)):
        stuck = told(result="rejected", code=STALLED, offered_at=50.0, attempt=attempt)
        assert retry_at(made, stuck) == pytest.approx(50.0 + pause_s * spread)
    assert retry_at(made, told(result="rejected", code=STALLED, attempt=3)) is None


def test_what_has_not_failed_is_not_offered_again() -> None:
    made = rollout(RETRYING)
    assert retry_at(made, told()) is None
    assert retry_at(made, fact(CANARY, assigned=None, result="rejected", code=STALLED)) is None
    assert retry_at(made, fact(CANARY, assigned=1, result="rejected", code=STALLED)) is None


# What is offered.


def offers(made: Rollout, now: float = 0.0, **special: Any) -> list[Offer]:
    return list(decide(made, facts(**special), {}, now).offers)


def test_an_offer_serves_at_the_first_attempt_unless_it_says_otherwise() -> None:
    assert Offer("d", "m", 2) == Offer("d", "m", 2, "serve", 1)
    assert offers(rollout()) == [Offer(CANARY, "m", 2, "serve", 1)]


def test_a_new_attempt_is_offered_from_its_moment_on() -> None:
    stuck = told(result="rejected", code=STALLED, offered_at=50.0)
    moment = retry_at(rollout(RETRYING), stuck)
    assert moment is not None
    assert offers(rollout(RETRYING), moment - 0.01, **{CANARY: stuck}) == []
    assert offers(rollout(RETRYING), moment, **{CANARY: stuck}) == [Offer(CANARY, "m", 2, "serve", 2)]


def test_attempts_and_first_offers_share_the_room_of_the_devices_under_way() -> None:
    everyone = replace(RETRYING, waves=(Wave(percent=100),), rules=())
    order = [member.device for member in rollout(everyone).members]
    world = {
        order[0]: fact(order[0], assigned=2),
        order[1]: fact(order[1], assigned=2, result="rejected", code=STALLED),
        order[2]: done(order[2]),
    }

    def offered(room: int) -> list[str]:
        made = rollout(replace(everyone, max_concurrent=room))
        return [offer.device for offer in offers(made, 99.0, **world)]

    assert offered(0) == [order[1], order[3], order[4]]
    assert offered(1) == []
    assert offered(2) == [order[1]]
    assert offered(3) == [order[1], order[3]]


def test_the_rate_counts_only_what_this_wave_was_offered() -> None:
    paced = replace(STRATEGY, per_minute=1.0, rules=())
    world = {CANARY: done(CANARY)}
    assert len(offers(rollout(paced, wave=1), 0.0, **world)) == 1
    assert len(offers(rollout(paced, wave=1), 60.0, **world)) == 2
    second, third = [member.device for member in rollout(paced).members if member.wave == 1][:2]
    told_one = world | {second: fact(second, assigned=2)}
    assert len(offers(rollout(paced, wave=1), 60.0, **told_one)) == 1
    assert offers(rollout(paced, wave=1), 60.0, **told_one, **{third: fact(third, assigned=2)}) == []


def test_a_completed_rollout_offers_only_to_those_who_joined_late_and_were_told_nothing() -> None:
    late = rollout(status="completed", wave=1)
    late = replace(late, members=(*late.members, Member(device="x", wave=1, late=True)))
    untold = fact("x", assigned=None)
    assert decide(late, {**facts(), "x": untold}, {}, 0.0).offers == (Offer("x", "m", 2),)
    assert decide(late, {**facts(), "x": fact("x", assigned=1)}, {}, 0.0).offers == ()
    stopped = replace(late, stopped_waves=(1,))
    assert decide(stopped, {**facts(), "x": untold}, {}, 0.0).offers == ()
    ordinary = replace(late, members=late.members[:-1])
    assert decide(ordinary, facts(**{CANARY: fact(CANARY, assigned=None)}), {}, 0.0).offers == ()


@pytest.mark.parametrize("status", ["proposed", "aborted", "rolled_back"])
def test_nothing_is_done_about_a_rollout_that_waits_or_has_ended(status: str) -> None:
    made = rollout(status=status)
    assert decide(made, facts(**{CANARY: broken(CANARY)}), {}, 0.0) == Decision(made)


def test_an_abort_leaves_what_has_confirmed_and_a_roll_back_does_not() -> None:
    world = {CANARY: done(CANARY)}
    assert offers(rollout(status="aborting"), **world) == []
    assert decide(rollout(status="aborting"), facts(**world), {}, 0.0).rollout.status == "aborted"
    assert offers(rollout(status="rolling_back"), **world) == [Offer(CANARY, "m", 1)]


def test_a_way_back_waits_for_devices_that_serve_or_try_the_release_and_are_not_offline() -> None:
    def status(given: Any) -> str:
        return decide(rollout(status="rolling_back"), facts(**{CANARY: given}), {}, 0.0).rollout.status

    back = fact(CANARY, assigned=1)
    new = VersionRef(release=2, digest=NEW)
    assert status(back) == "rolled_back"
    assert status(replace(back, state=None)) == "rolled_back"
    assert status(replace(back, state=replace(back.state, trial=new))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, serving=NEW))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, stable=new))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, trial=new), presence="offline")) == "rolled_back"
    assert status(replace(back, state=replace(back.state, trial=new), presence="silent")) == "rolling_back"


def test_the_way_back_reaches_the_wave_that_was_under_way_and_no_later_one() -> None:
    world = {device: fact(device, assigned=2) for device in DEVICES}
    assert [offer.device for offer in offers(rollout(status="rolling_back"), **world)] == [CANARY]
    assert len(offers(rollout(status="rolling_back", wave=1), **world)) == 5


def test_only_devices_that_failed_or_refused_are_kept_from_the_release() -> None:
    first, second, *_ = (member.device for member in rollout().members)
    world = {
        first: told(result="rejected", code="probe_mismatch"),
        second: fact(second, assigned=2, result="confirmed"),
    }
    assert decide(rollout(wave=1), facts(**world), {}, 0.0).quarantined == (first,)


# When a wave ends.


def test_a_wave_is_done_when_nobody_is_pending_and_undone_when_somebody_is_again() -> None:
    noticed = decide(rollout(), facts(**{CANARY: done(CANARY)}), {}, 7.0).rollout
    assert (noticed.wave_done_at, noticed.wave) == (7.0, 0)
    undone = decide(rollout(wave_done_at=7.0), facts(**{CANARY: told()}), {}, 8.0)
    assert (undone.rollout.wave_done_at, undone.offers) == (None, ())


def test_a_wave_ends_at_the_end_of_its_soak_and_not_before() -> None:
    world = facts(**{CANARY: done(CANARY)})
    done_at = rollout(wave_done_at=5.0)
    assert decide(done_at, world, {}, 14.9).rollout == done_at
    after = decide(done_at, world, {}, 15.0).rollout
    assert (after.wave, after.wave_began_at, after.wave_done_at) == (1, 15.0, None)


def test_promoting_an_earlier_wave_does_not_end_a_later_one() -> None:
    everywhere = {device: done(device) for device in DEVICES}
    slow = replace(STRATEGY, waves=(Wave(percent=20), Wave(percent=100, soak_s=100.0)))
    later = rollout(slow, wave=1, wave_done_at=0.0, promoted=0)
    assert decide(later, everywhere, {}, 50.0).rollout == later
    assert decide(replace(later, promoted=1), everywhere, {}, 50.0).rollout.status == "completed"


def test_only_the_first_wave_waits_for_the_way_back_of_the_others() -> None:
    three = replace(STRATEGY, waves=(Wave(percent=20), Wave(percent=40), Wave(percent=100)), rules=())
    unsure = {device: fact(device, proven=False) for device in DEVICES}
    members = rollout(three).members
    world = unsure | {member.device: done(member.device) for member in members if member.wave <= 1}
    assert decide(rollout(three, wave_done_at=0.0), world, {}, 1.0).rollout.wave == 0
    assert decide(rollout(three, wave=1, wave_done_at=0.0), world, {}, 1.0).rollout.wave == 2


def test_who_has_not_shown_its_way_back() -> None:
    later = [member.device for member in rollout().members if member.wave == 1]
    world = facts(
        **{
            CANARY: fact(CANARY, proven=False),
            later[0]: fact(later[0], proven=False),
            later[1]: fact(later[1], proven=False, presence="silent"),
            later[2]: fact(later[2], proven=False, stable=None),
            later[3]: replace(fact(later[3]), state=None),
        }
    )
    assert unproven(rollout(), world) == [later[0]]
    assert unproven(rollout(stopped_waves=(1,)), world) == []


def test_a_rule_that_trips_says_metric_stratum_and_numbers() -> None:
    after = decide(rollout(), facts(**{CANARY: broken(CANARY)}), {}, 0.0).rollout
    assert after.reason == "failed_ratio: 1 of 1 decided devices failed, 0% allowed; failed: d3 (health_accuracy)"


def test_a_wave_that_was_stopped_is_not_stopped_again() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="roll_back_wave"),))
    world = facts(**{CANARY: broken(CANARY)})
    stopped = decide(rollout(strategy), world, {}, 0.0).rollout
    assert (stopped.status, stopped.stopped_waves) == ("paused", (0,))
    assert stopped.reason.startswith("failed_ratio: ")
    measured = replace(strategy, rules=(Rule(metric="error_ratio", threshold=0.1, on_fail="roll_back_wave"),))
    bad = cells(sums(500, errors=400))
    known = rollout(measured, stopped_waves=(0,))
    assert decide(replace(known, status="paused"), world, bad, 0.0).rollout.status == "paused"
    assert decide(known, world, bad, 0.0).rollout.status == "rolling_back"


def test_a_rule_of_a_whole_fleet_that_asks_for_a_stratum_rolls_all_back() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="roll_back_stratum"),))
    assert decide(rollout(strategy), facts(**{CANARY: broken(CANARY)}), {}, 0.0).rollout.status == "rolling_back"


def test_the_first_rule_that_has_anything_to_do_decides() -> None:
    rules = (replace(STRATEGY.rules[0], on_fail="pause"), replace(STRATEGY.rules[0], on_fail="abort"))
    world = facts(**{CANARY: broken(CANARY)})
    made = rollout(replace(STRATEGY, rules=rules))
    assert decide(made, world, {}, 0.0).rollout.status == "paused"
    assert decide(replace(made, status="paused"), world, {}, 0.0).rollout.status == "aborting"


# Pace.


def test_jitter_lets_a_device_go_from_its_own_moment_on() -> None:
    made = rollout(replace(STRATEGY, jitter_s=100.0), wave_began_at=1000.0)
    moment = 1000.0 + 100.0 * unit_hash("r-1/jitter", "d0")
    assert due(made, ["d0"], told=0, under_way=0, now=moment - 0.001) == []
    assert due(made, ["d0"], told=0, under_way=0, now=moment + 0.001) == ["d0"]


def test_the_tighter_of_cap_and_rate_holds() -> None:
    names = [f"d{number}" for number in range(9)]
    made = rollout(replace(STRATEGY, per_minute=4.0, max_concurrent=3))
    assert due(made, names, told=0, under_way=0, now=60.0) == names[:3]
    assert due(made, names, told=3, under_way=0, now=60.0) == names[:2]
    assert due(made, names, told=9, under_way=0, now=60.0) == []
    assert due(made, names, told=0, under_way=2, now=60.0) == names[:1]
    assert due(rollout(), names, told=9, under_way=9, now=0.0) == names


def test_offers_after_a_time_are_the_integral_of_the_rate() -> None:
    assert [allowed(6.0, 1.0, waited_s) for waited_s in (0.0, 9.9, 10.0, 60.0)] == [1, 1, 2, 7]
    assert [allowed(10.0, 2.0, 60.0 * minute) for minute in (1, 2, 3)] == [15, 44, 101]


# Plans.


def test_the_order_is_each_devices_own_and_differs_by_rollout() -> None:
    assert rank("a", "d0") != rank("b", "d0")
    assert 0.0 <= unit_hash("a", "d0") < 1.0
    assert unit_hash("a", "d0") != unit_hash("b", "d0")


def planned(*waves: Wave, among: list[Target]) -> dict[str, int]:
    strategy = replace(STRATEGY, waves=waves)
    return {member.device: member.wave for member in plan_members("r", among, expand(strategy, among), {})}


def test_percents_of_each_stratum_are_rounded_up() -> None:
    fleet = [*targets([f"a{n}" for n in range(10)], "arm"), *targets([f"x{n}" for n in range(11)], "x86")]
    waves = planned(Wave(percent=10), Wave(percent=100), among=fleet)
    first = sorted(name[0] for name, wave in waves.items() if wave == 0)
    assert first == ["a", "x", "x"]


def test_an_empty_wave_takes_the_next_device_unless_it_follows_a_shadow() -> None:
    fleet = targets(["a", "b", "c"])
    shadowed = planned(Wave(percent=34, mode="shadow"), Wave(percent=34), Wave(percent=100), among=fleet)
    assert sorted(shadowed.values()) == [0, 0, 2]
    named = planned(Wave(devices=("nobody",)), Wave(percent=100), among=fleet)
    assert sorted(named.values()) == [0, 1, 1]
    assert planned(Wave(percent=100), Wave(percent=100), among=fleet) == {"a": 0, "b": 0, "c": 0}
    assert planned(Wave(percent=50), among=[]) == {}


def test_waves_are_chosen_by_count_names_stratum_and_labels() -> None:
    fleet = [Target(f"d{n}", "arm" if n % 2 else "x86", {"site": "n"} if n < 2 else {"site": "s"}) for n in range(6)]
    last = Wave(percent=100)
    order = sorted(fleet, key=lambda target: rank("r", target.device))
    first = {name for name, wave in planned(Wave(count=2), last, among=fleet).items() if wave == 0}
    assert first == {target.device for target in order[:2]}
    for wave, expected in (
        (Wave(devices=("d3", "d4")), {"d3", "d4"}),
        (Wave(stratum="arm"), {"d1", "d3", "d5"}),
        (Wave(selector={"site": "n"}), {"d0", "d1"}),
    ):
        assert {name for name, number in planned(wave, last, among=fleet).items() if number == 0} == expected


def test_a_member_remembers_what_it_had_confirmed() -> None:
    before = {"a": VersionRef(release=7, digest="7" * 64)}
    assert member_of(Target("a", "arm", digest="f" * 64), 3, before) == Member(
        device="a", wave=3, stratum="arm", digest="f" * 64, previous_release=7, previous_digest="7" * 64
    )
    assert member_of(Target("b"), 0, before, late=True) == Member(device="b", wave=0, late=True)


def test_joining_adds_members_at_the_tail_and_reasons_for_the_others() -> None:
    made = rollout(excluded={"x": "old"})
    assert join(made, [], {}, {}) is made
    grown = join(made, [Target("y")], {"z": "pinned"}, {})
    assert grown.excluded == {"x": "old", "z": "pinned"}
    assert grown.members == (*made.members, Member(device="y", wave=1, late=True))
    assert join(made, [], {"z": "pinned"}, {}).members == made.members


def test_the_wave_that_ends_a_rollout() -> None:
    assert (rollout().last_wave, rollout().final_wave) == (1, 1)
    lone = rollout(replace(STRATEGY, waves=(Wave(percent=50), Wave(percent=100))), among=targets(["d0"]))
    assert (lone.last_wave, lone.final_wave) == (0, 0)
    shadow = (Wave(percent=50, mode="shadow"), Wave(percent=50), Wave(percent=100))
    assert rollout(replace(STRATEGY, waves=shadow), among=targets(["d0"])).final_wave == 1
    assert rollout(members=()).last_wave == 0
    assert sorted(rollout().devices_up_to(1)) == DEVICES
    assert rollout().devices_up_to(0) == [CANARY]


# Explanations.


def said(made: Rollout, now: float = 3.0, verdicts: tuple[RuleVerdict, ...] = (), **special: Any) -> list[str]:
    return explain(made, facts(**special), verdicts, now)


def test_what_is_said_of_each_status() -> None:
    first = "r-1 brings m v2 by s."
    ended = said(rollout(status="aborted", reason="asked by anna"))
    assert ended == [first, "It was aborted; what had confirmed the release keeps it, because asked by anna."]
    for status in ("completed", "aborted", "rolled_back", "aborting", "rolling_back"):
        name, sentence = said(rollout(status=status))
        assert name == first
        assert "because" not in sentence
        assert sentence.endswith(("again.", "It has completed.", "keeps it.", "sent back.", "confirmed release."))
    assert said(rollout(status="paused"))[1] == "It is paused: resume, abort or roll it back."
    (proposed,) = said(rollout(status="proposed", created_by="anna"))
    assert proposed.endswith(f"approve plan {rollout().plan_digest[:12]}.")
    assert said(rollout(status="paused", reason="x"))[1] == "It is paused, because x: resume, abort or roll it back."
    assert said(rollout(reason="failed_ratio on arm"))[1] == "failed_ratio on arm."


def test_what_a_wave_waits_for() -> None:
    turn = "Wave 1 of 2, 1 of 5 devices have had their turn: 1 succeeded."
    ready = {CANARY: done(CANARY)}
    assert said(rollout(), **ready)[1:] == [turn, "It waits for devices that have not decided."]
    assert said(rollout(wave_done_at=0.0), **ready)[1:] == [turn, "It soaks for 7 s more."]
    assert said(rollout(wave_done_at=0.0), 10.0, **ready)[1:] == [turn, "The next pass goes on."]
    held = replace(STRATEGY, waves=(Wave(percent=20, hold=True), Wave(percent=100)))
    waits = "It waits for `edgeward rollout promote r-1`."
    assert said(rollout(held, wave_done_at=0.0), **ready)[2:] == [waits]
    assert said(rollout(held, wave_done_at=0.0, promoted=0), **ready)[2:] == ["The next pass goes on."]


def test_which_rules_are_named() -> None:
    verdicts = (
        RuleVerdict("error_ratio", "pass", "a"),
        RuleVerdict("accuracy_drop", "inconclusive", "b", "arm"),
        RuleVerdict("failed_ratio", "fail", "c"),
    )
    waiting = "Rule accuracy_drop on arm cannot say yet: b."
    failing = "Rule failed_ratio has failed: c."
    assert said(rollout(wave_done_at=0.0), 10.0, verdicts)[2:] == [waiting, failing]
    assert said(rollout(status="paused"), 10.0, verdicts)[3:] == [failing]


def test_only_the_first_wave_names_devices_without_a_proven_way_back() -> None:
    unsure = {device: fact(device, proven=False) for device in DEVICES} | {CANARY: done(CANARY)}
    sentence = said(rollout(wave_done_at=0.0), 10.0, **unsure)[-1]
    assert sentence.startswith("4 devices have not shown that their way back is whole: ")
    assert said(rollout(wave=1, wave_done_at=0.0), 10.0, **unsure)[-1] == "The next pass goes on."
    relaxed = replace(STRATEGY, preflight=False)
    assert said(rollout(relaxed, wave_done_at=0.0), 10.0, **unsure)[-1] == "The next pass goes on."


def test_at_most_five_devices_are_named() -> None:
    many = [f"d{number}" for number in range(9)]
    made = rollout(among=targets(many), wave_done_at=0.0)
    first = {member.device: done(member.device) for member in made.members if member.wave == 0}
    world = {device: fact(device, proven=False) for device in many} | first
    sentence = explain(made, world, (), 10.0)[-1]
    assert sentence.startswith("7 devices have not shown")
    assert len(sentence.partition("whole: ")[2].split(", ")) == 5


def test_the_first_release_of_all_is_offered_to_devices_that_were_told_nothing() -> None:
    world = {device: fact(device, assigned=None, stable=None) for device in DEVICES}
    assert decide(rollout(release=1), world, {}, 0.0).offers == (Offer(CANARY, "m", 1),)
    assert decide(rollout(release=1, status="rolling_back"), world, {}, 0.0).offers == ()
