"""When a rollout may offer its release, how long it takes, and how times and counts are written."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from controller.rollout.decide import Offer, decide
from controller.rollout.model import Rule, Strategy, Wave
from controller.rollout.power import judged_for_s
from controller.rollout.progress import NOBODY_AWAY, away_of, left_of, waves_of
from controller.rollout.rows import Rows
from controller.rollout.schedule import Schedule, check_schedule, opens_in_s, schedule_words
from controller.rollout.words import devices_have, devices_of, span
from tests.controller.rollout_words import RETRYING, STALLED, told
from tests.controller.rollout_worlds import CANARY, fact, facts, rollout

MONDAY = datetime(2026, 11, 30, 7, 0, tzinfo=UTC).timestamp()
HOUR_S = 3600.0
OFFICE = Schedule(hours=("mon-fri 08:00-16:00",))


def test_a_rollout_makes_offers_only_inside_its_schedule() -> None:
    early, late = (
        replace(rollout(), schedule=OFFICE, wave_began_at=at, began_at=at) for at in (MONDAY, MONDAY + 2 * HOUR_S)
    )
    assert decide(early, facts(), Rows(), MONDAY).offers == ()
    assert [each.release for each in decide(late, facts(), Rows(), MONDAY + 2 * HOUR_S).offers] == [2]


def test_an_ended_schedule_pauses_the_devices_without_an_offer_with_the_reason() -> None:
    over = replace(rollout(), schedule=Schedule(not_after=MONDAY), wave_began_at=MONDAY)
    after = decide(over, facts(), Rows(), MONDAY + 1.0).rollout
    assert (after.status, after.reason) == ("paused", "its schedule has ended before every device had its turn")


@pytest.mark.parametrize(
    ("schedule", "opens_s"),
    [
        (Schedule(), 0.0),
        (Schedule(not_before=MONDAY + 60.0), 60.0),
        (OFFICE, HOUR_S),
        (Schedule(not_before=MONDAY + 10 * HOUR_S, hours=OFFICE.hours), 25 * HOUR_S),
        (Schedule(not_after=MONDAY + HOUR_S, hours=OFFICE.hours), None),
        (Schedule(not_after=MONDAY), None),
    ],
)
def test_the_time_of_the_next_possible_offer_is_known(schedule: Schedule, opens_s: float | None) -> None:
    assert opens_in_s(schedule, MONDAY) == opens_s


def test_an_invalid_schedule_is_refused() -> None:
    for schedule in (
        Schedule(hours=("sometimes",)),
        Schedule(not_before=MONDAY + 9.0, not_after=MONDAY + 5.0),
        Schedule(not_after=MONDAY - 1.0),
        Schedule(hours=("08:00-09:00",) * 15),
    ):
        with pytest.raises(BadInput, match="strategy_invalid"):
            check_schedule(schedule, MONDAY)


def test_another_schedule_is_another_plan_and_plans_without_one_stay_the_same() -> None:
    plain = rollout()
    assert replace(plain, schedule=OFFICE).plan_digest != plain.plan_digest == rollout().plan_digest


def test_the_remaining_time_includes_soaks_pace_schedule_and_maintenance() -> None:
    strategy = Strategy(
        name="s",
        waves=(Wave(percent=20, soak_s=100.0), Wave(percent=100, soak_s=50.0, hold=True)),
        per_minute=6.0,
    )
    made = replace(rollout(strategy), wave_began_at=MONDAY, schedule=OFFICE)
    outcomes = {member.device: "pending" if member.wave == 0 else "waiting" for member in made.members}
    waves = waves_of(made, outcomes, MONDAY)  # type: ignore[arg-type]
    clock = datetime.fromtimestamp(MONDAY, UTC)
    left = left_of(made, waves, clock, away=away_of(made, 2, [None, None]), undecided=1)
    trial_s = float(strategy.trial.soak_s)
    assert [each.left_s for each in waves] == pytest.approx([trial_s + 100.0, 30.0 + trial_s + 50.0], abs=2.0)
    assert left.seconds == pytest.approx(sum(each.left_s for each in waves) + HOUR_S)
    for part in ("until its schedule lets it go on", "wave 2 waits for a person", "2 devices have", "1 rule cannot"):
        assert part in left.words
    night = replace(made, strategy=replace(strategy, trial=replace(strategy.trial, maintenance=("22:00-04:00",))))
    assert left_of(night, waves, clock, away=NOBODY_AWAY, undecided=0).seconds == pytest.approx(
        left.seconds + 15 * HOUR_S
    )
    assert left_of(replace(made, status="completed"), waves, clock, away=NOBODY_AWAY, undecided=0).words == ""


def test_the_power_of_a_plan_depends_on_what_a_rule_judges() -> None:
    assert judged_for_s(Rule(metric="error_ratio", threshold=0.1), 900.0) == 900.0
    assert judged_for_s(Rule(metric="error_ratio", threshold=0.1, judged_s=60.0), 900.0) == 60.0
    assert judged_for_s(Rule(metric="error_ratio", threshold=0.1, judged_s=9000.0), 900.0) == 900.0


def test_times_and_counts_are_written_in_words() -> None:
    said = [span(seconds) for seconds in (0.0, 0.5, 30.0, 89.0, 90.0, 720.0, 5400.0, 86_400.0, 20 * 86_400.0)]
    assert said == ["0 s", "0.5 s", "30 s", "89 s", "1.5 min", "12 min", "1.5 h", "24 h", "20 d"]
    assert (devices_of(1), devices_of(2), devices_have(1)) == ("1 device", "2 devices", "1 device has")
    assert schedule_words(OFFICE, MONDAY) == ("It offers the release in mon-fri 08:00-16:00 (UTC): next in 60 min.")


def test_outside_its_schedule_a_device_gets_another_mode_and_no_new_attempt() -> None:
    retrying = replace(RETRYING, max_concurrent=0)
    office, always = (replace(rollout(retrying), schedule=each) for each in (OFFICE, Schedule()))
    stuck = facts(**{CANARY: told(result="rejected", code=STALLED, offered_at=MONDAY - HOUR_S)})
    assert [each.attempt for each in decide(always, stuck, Rows(), MONDAY).offers] == [2]
    assert decide(office, stuck, Rows(), MONDAY).offers == ()
    shadowing = facts(**{CANARY: fact(CANARY, assigned=2, mode="shadow", offered_at=MONDAY - 1.0)})
    assert decide(office, shadowing, Rows(), MONDAY).offers == (Offer(CANARY, "m", 2, "serve", 1),)
