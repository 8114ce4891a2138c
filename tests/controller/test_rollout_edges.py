"""Edges of a rollout's decision: offers to devices, the end of a wave, and the pace."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import VersionRef
from controller.rollout.decide import Decision, Offer, decide, unproven
from controller.rollout.model import Member, Rollout, Rule, Wave
from controller.rollout.outcome import retry_at
from controller.rollout.pace import allowed, due
from controller.rollout.plan import unit_hash
from controller.rollout.rows import Rows
from tests.controller.rollout_words import RETRYING, STALLED, told
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
)

# What is offered.


def offers(made: Rollout, now: float = 0.0, **special: Any) -> list[Offer]:
    return list(decide(made, facts(**special), Rows(), now).offers)


def test_an_offer_serves_at_the_first_attempt_unless_it_names_another_mode() -> None:
    assert Offer("d", "m", 2) == Offer("d", "m", 2, "serve", 1)
    assert offers(rollout()) == [Offer(CANARY, "m", 2, "serve", 1)]


def test_a_new_attempt_is_offered_from_its_time_on() -> None:
    stuck = told(result="rejected", code=STALLED, offered_at=50.0)
    moment = retry_at(rollout(RETRYING), stuck)
    assert moment is not None
    assert offers(rollout(RETRYING), moment - 0.01, **{CANARY: stuck}) == []
    assert offers(rollout(RETRYING), moment, **{CANARY: stuck}) == [Offer(CANARY, "m", 2, "serve", 2)]


def test_attempts_and_first_offers_share_the_limit_of_devices_in_progress() -> None:
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


def test_the_rate_counts_only_offers_of_this_wave() -> None:
    paced = replace(STRATEGY, per_minute=1.0, rules=())
    world = {CANARY: done(CANARY)}
    assert len(offers(rollout(paced, wave=1), 0.0, **world)) == 1
    assert len(offers(rollout(paced, wave=1), 60.0, **world)) == 2
    second, third = [member.device for member in rollout(paced).members if member.wave == 1][:2]
    told_one = world | {second: fact(second, assigned=2)}
    assert len(offers(rollout(paced, wave=1), 60.0, **told_one)) == 1
    assert offers(rollout(paced, wave=1), 60.0, **told_one, **{third: fact(third, assigned=2)}) == []


def test_a_completed_rollout_offers_only_to_late_devices_without_an_assignment() -> None:
    late = rollout(status="completed", wave=1)
    late = replace(late, members=(*late.members, Member(device="x", wave=1, late=True)))
    untold = fact("x", assigned=None)
    assert decide(late, {**facts(), "x": untold}, Rows(), 0.0).offers == (Offer("x", "m", 2),)
    assert decide(late, {**facts(), "x": fact("x", assigned=1)}, Rows(), 0.0).offers == ()
    stopped = replace(late, stopped_waves=(1,))
    assert decide(stopped, {**facts(), "x": untold}, Rows(), 0.0).offers == ()
    ordinary = replace(late, members=late.members[:-1])
    assert decide(ordinary, facts(**{CANARY: fact(CANARY, assigned=None)}), Rows(), 0.0).offers == ()


@pytest.mark.parametrize("status", ["proposed", "aborted", "rolled_back"])
def test_a_waiting_or_ended_rollout_does_nothing(status: str) -> None:
    made = rollout(status=status)
    assert decide(made, facts(**{CANARY: broken(CANARY)}), Rows(), 0.0) == Decision(made)


def test_an_abort_keeps_confirmed_devices_and_a_roll_back_does_not() -> None:
    world = {CANARY: done(CANARY)}
    assert offers(rollout(status="aborting"), **world) == []
    assert decide(rollout(status="aborting"), facts(**world), Rows(), 0.0).rollout.status == "aborted"
    assert offers(rollout(status="rolling_back"), **world) == [Offer(CANARY, "m", 1)]


def test_a_roll_back_waits_for_devices_that_serve_or_try_the_release_and_are_not_offline() -> None:
    def status(given: Any) -> str:
        return decide(rollout(status="rolling_back"), facts(**{CANARY: given}), Rows(), 0.0).rollout.status

    back = fact(CANARY, assigned=1)
    new = VersionRef(release=2, digest=NEW)
    assert status(back) == "rolled_back"
    assert status(replace(back, state=None)) == "rolled_back"
    assert status(replace(back, state=replace(back.state, trial=new))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, serving=NEW))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, stable=new))) == "rolling_back"
    assert status(replace(back, state=replace(back.state, trial=new), presence="offline")) == "rolled_back"
    assert status(replace(back, state=replace(back.state, trial=new), presence="silent")) == "rolling_back"


def test_a_roll_back_reaches_the_current_wave_and_no_later_one() -> None:
    world = {device: fact(device, assigned=2) for device in DEVICES}
    assert [offer.device for offer in offers(rollout(status="rolling_back"), **world)] == [CANARY]
    assert len(offers(rollout(status="rolling_back", wave=1), **world)) == 5


def test_only_devices_that_failed_or_refused_are_quarantined() -> None:
    first, second, *_ = (member.device for member in rollout().members)
    world = {
        first: told(result="rejected", code="probe_mismatch"),
        second: fact(second, assigned=2, result="confirmed"),
    }
    assert decide(rollout(wave=1), facts(**world), Rows(), 0.0).quarantined == (first,)


# When a wave ends.


def test_a_wave_is_done_when_no_device_is_pending_and_not_done_when_one_is_again() -> None:
    noticed = decide(rollout(), facts(**{CANARY: done(CANARY)}), Rows(), 7.0).rollout
    assert (noticed.wave_done_at, noticed.wave) == (7.0, 0)
    undone = decide(rollout(wave_done_at=7.0), facts(**{CANARY: told()}), Rows(), 8.0)
    assert (undone.rollout.wave_done_at, undone.offers) == (None, ())


def test_a_wave_ends_at_the_end_of_its_soak_and_not_before() -> None:
    world = facts(**{CANARY: done(CANARY)})
    done_at = rollout(wave_done_at=5.0)
    assert decide(done_at, world, Rows(), 14.9).rollout == done_at
    after = decide(done_at, world, Rows(), 15.0).rollout
    assert (after.wave, after.wave_began_at, after.wave_done_at) == (1, 15.0, None)


def test_promoting_an_earlier_wave_does_not_end_a_later_one() -> None:
    everywhere = {device: done(device) for device in DEVICES}
    slow = replace(STRATEGY, waves=(Wave(percent=20), Wave(percent=100, soak_s=100.0)))
    later = rollout(slow, wave=1, wave_done_at=0.0, promoted=0)
    assert decide(later, everywhere, Rows(), 50.0).rollout == later
    assert decide(replace(later, promoted=1), everywhere, Rows(), 50.0).rollout.status == "completed"


def test_only_the_first_wave_waits_for_the_proven_way_back_of_the_others() -> None:
    three = replace(STRATEGY, waves=(Wave(percent=20), Wave(percent=40), Wave(percent=100)), rules=())
    unsure = {device: fact(device, proven=False) for device in DEVICES}
    members = rollout(three).members
    world = unsure | {member.device: done(member.device) for member in members if member.wave <= 1}
    assert decide(rollout(three, wave_done_at=0.0), world, Rows(), 1.0).rollout.wave == 0
    assert decide(rollout(three, wave=1, wave_done_at=0.0), world, Rows(), 1.0).rollout.wave == 2


def test_devices_without_a_proven_way_back_are_listed() -> None:
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


def test_a_tripped_rule_names_metric_stratum_and_numbers() -> None:
    after = decide(rollout(), facts(**{CANARY: broken(CANARY)}), Rows(), 0.0).rollout
    assert after.reason == "failed_ratio: 1 of 1 decided devices failed, 0% allowed; failed: d3 (health_accuracy)"


def test_a_stopped_wave_is_not_stopped_again() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="roll_back_wave"),))
    world = facts(**{CANARY: broken(CANARY)})
    stopped = decide(rollout(strategy), world, Rows(), 0.0).rollout
    assert (stopped.status, stopped.stopped_waves) == ("paused", (0,))
    assert stopped.reason.startswith("failed_ratio: ")
    measured = replace(strategy, rules=(Rule(metric="error_ratio", threshold=0.1, on_fail="roll_back_wave"),))
    bad = cells(sums(500, errors=400))
    known = rollout(measured, stopped_waves=(0,))
    assert decide(replace(known, status="paused"), world, bad, 0.0).rollout.status == "paused"
    assert decide(known, world, bad, 0.0).rollout.status == "rolling_back"


def test_a_fleet_rule_that_names_a_stratum_rolls_all_back() -> None:
    strategy = replace(STRATEGY, rules=(replace(STRATEGY.rules[0], on_fail="roll_back_stratum"),))
    assert decide(rollout(strategy), facts(**{CANARY: broken(CANARY)}), Rows(), 0.0).rollout.status == "rolling_back"


def test_the_first_rule_with_an_action_decides() -> None:
    rules = (replace(STRATEGY.rules[0], on_fail="pause"), replace(STRATEGY.rules[0], on_fail="abort"))
    world = facts(**{CANARY: broken(CANARY)})
    made = rollout(replace(STRATEGY, rules=rules))
    assert decide(made, world, Rows(), 0.0).rollout.status == "paused"
    assert decide(replace(made, status="paused"), world, Rows(), 0.0).rollout.status == "aborting"


# Pace.


def test_jitter_delays_a_device_until_its_own_moment() -> None:
    made = rollout(replace(STRATEGY, jitter_s=100.0), wave_began_at=1000.0)
    moment = 1000.0 + 100.0 * unit_hash("r-1/jitter", "d0")
    assert due(made, ["d0"], told=0, under_way=0, now=moment - 0.001) == []
    assert due(made, ["d0"], told=0, under_way=0, now=moment + 0.001) == ["d0"]


def test_the_stricter_of_cap_and_rate_applies() -> None:
    names = [f"d{number}" for number in range(9)]
    made = rollout(replace(STRATEGY, per_minute=4.0, max_concurrent=3))
    assert due(made, names, told=0, under_way=0, now=60.0) == names[:3]
    assert due(made, names, told=3, under_way=0, now=60.0) == names[:2]
    assert due(made, names, told=9, under_way=0, now=60.0) == []
    assert due(made, names, told=0, under_way=2, now=60.0) == names[:1]
    assert due(rollout(), names, told=9, under_way=9, now=0.0) == names


def test_the_number_of_offers_is_the_integral_of_the_rate() -> None:
    assert [allowed(6.0, 1.0, waited_s) for waited_s in (0.0, 9.9, 10.0, 60.0)] == [1, 1, 2, 7]
    assert [allowed(10.0, 2.0, 60.0 * minute) for minute in (1, 2, 3)] == [15, 44, 101]
