"""How long a rollout takes with devices that are often away: a range, by the past of each device."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.config import Config, StorageConfig
from controller.fleet.absences import Absence, Return, absences, return_of
from controller.fleet.vitals import Vitals
from controller.rollout.progress import away_of, away_words
from controller.state import State, open_state
from controller.verbs.returns import returns_of
from tests.controller.rollout_worlds import rollout
from tests.controller.test_api import meet

HOUR_S = 3_600.0
MONDAY = 1_767_571_200.0
"""Midnight of Monday, 5 January 2026, in UTC."""
DAY_S, NIGHT_H, WEEKEND_H = 24 * HOUR_S, 14, 62


def office_weeks(weeks: int) -> list[tuple[float, float]]:
    """Hours of a device that is on from 8 to 18 o'clock, Monday to Friday."""
    days = (MONDAY + (7 * week + day) * DAY_S for week in range(weeks) for day in range(5))
    return [(day + hour * HOUR_S, HOUR_S) for day in days for hour in range(8, 18)]


def test_gaps_between_hours_in_which_it_was_heard_are_absences() -> None:
    assert absences([(0.0, 300.0), (300.0, 300.0), (900.0, 300.0)]) == [], "a lost message is no absence"
    assert absences([(0.0, 300.0), (9_000.0, 3_600.0)]) == [Absence(300.0, 8_700.0)]
    found = absences(office_weeks(1))
    assert [each.lasted_s / HOUR_S for each in found] == [NIGHT_H] * 4


def test_a_device_of_an_office_is_back_in_the_morning_and_on_a_friday_on_monday() -> None:
    past, now = absences(office_weeks(4)), MONDAY + 28 * DAY_S
    tuesday_evening = now + DAY_S + 18 * HOUR_S
    evening = return_of(past, tuesday_evening, tuesday_evening + 2 * HOUR_S)
    assert evening == Return(12 * HOUR_S, 12 * HOUR_S)
    friday_evening = now + 4 * DAY_S + 18 * HOUR_S
    assert return_of(past, friday_evening, friday_evening) == Return(WEEKEND_H * HOUR_S, WEEKEND_H * HOUR_S)


def test_absences_of_any_hour_give_a_range_and_what_is_longer_than_ever_gives_none() -> None:
    past = [Absence(MONDAY + day * 1.3 * DAY_S, hours * HOUR_S) for day, hours in enumerate((1, 2, 4, 6, 9, 12))]
    odd = MONDAY + 40.9 * DAY_S
    alike = return_of(past, odd, odd)
    assert alike is not None
    assert 0 < alike.low_s < alike.high_s <= 12 * HOUR_S
    assert return_of(past, odd, odd + 13 * HOUR_S) is None, "it was never away so long"
    assert return_of(past[:1], odd, odd) is None, "one absence is no habit"


def test_a_rollout_waits_for_the_last_device_and_no_longer_than_it_waits_at_all() -> None:
    made = rollout()
    patience_s = made.strategy.start_s
    away = away_of(made, 2, [Return(20.0, 50.0), Return(40.0, 1e9)])
    assert (away.low_s, away.high_s) == (40.0, patience_s)
    assert "2 devices that cannot be reached are all back in" in away_words(away)
    assert away_of(made, 1, [None]).high_s == patience_s
    assert away_words(away_of(made, 1, [None])) == "", "without habits there is no range to tell"
    assert "of 1 nothing is known" in away_words(away_of(made, 2, [None, Return(1.0, 2.0)]))
    assert away_words(away_of(made, 0, [])) == ""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def test_habits_come_from_kept_vitals_and_are_read_again_once_the_device_was_heard(state: State) -> None:
    meet(state, "a")
    none = (float("nan"),) * 6
    rows = [("a", Vitals(start, span_s, 60, none, none, none)) for start, span_s in office_weeks(4)]
    state.vitals.keep(rows)
    evening = MONDAY + 29 * DAY_S + 18 * HOUR_S
    twin = state.world.durable.twins["a"]
    state.world.durable.twins["a"] = replace(twin, seen_at=evening, connected=False)
    assert returns_of(state, ["a", "nobody"], evening) == {"a": Return(14 * HOUR_S, 14 * HOUR_S), "nobody": None}
    state.vitals.drop("a")
    assert returns_of(state, ["a"], evening)["a"] is not None, "nothing was heard since: it is in memory"
    state.world.durable.twins["a"] = replace(twin, seen_at=evening + 1.0, connected=False)
    assert returns_of(state, ["a"], evening + 1.0) == {"a": None}
