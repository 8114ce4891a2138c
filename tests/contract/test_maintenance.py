"""Maintenance hours on a device's own wall clock."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import BadInput, Code
from contract.maintenance import DAYS, parse_hours, wait_s

MONDAY = datetime(2026, 11, 23)  # noqa: DTZ001 - a wall clock


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("hours", "opens", "closed"),
    [
        ("02:00-04:00", [(0, "02:00"), (6, "03:59")], [(0, "01:59"), (0, "04:00")]),
        ("mon-fri 02:00-04:00", [(0, "03:00"), (4, "03:00")], [(5, "03:00"), (6, "03:00")]),
        ("sat,sun 22:00-06:00", [(5, "22:00"), (6, "05:59"), (0, "05:00")], [(5, "05:00"), (0, "06:00"), (0, "22:00")]),
        ("fri-mon 10:00-11:00", [(4, "10:30"), (0, "10:30")], [(1, "10:30"), (3, "10:30")]),
    ],
)
def test_maintenance_hours_are_open_at_their_times(
    hours: str, opens: list[tuple[int, str]], closed: list[tuple[int, str]]
) -> None:
    assert [parse_hours(hours).holds(at(*moment)) for moment in opens] == [True] * len(opens)
    assert [parse_hours(hours).holds(at(*moment)) for moment in closed] == [False] * len(closed)


def test_the_wait_is_until_the_nearest_opening() -> None:
    assert wait_s((), at(0, "12:00")) == 0.0
    assert wait_s(("02:00-04:00",), at(0, "03:00")) == 0.0
    assert wait_s(("02:00-04:00", "13:00-14:00"), at(0, "12:00")) == 3600.0
    assert wait_s(("sun 00:00-01:00",), at(0, "12:00")) == 5.5 * 86_400.0


@given(st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 7 * 1440 - 1))
def test_all_accepted_maintenance_hours_begin_within_a_week(day: int, begins: int, ends: int, now: int) -> None:
    if begins == ends:
        return
    text = f"{DAYS[day]} {begins // 60:02}:{begins % 60:02}-{ends // 60:02}:{ends % 60:02}"
    local = MONDAY + timedelta(minutes=now)
    wait = wait_s((text,), local)
    assert wait <= 7 * 86_400
    assert parse_hours(text).holds(local + timedelta(seconds=wait))


def test_the_hour_skipped_in_spring_opens_nothing_and_the_hour_repeated_in_autumn_opens_twice() -> None:
    zone, hours = ZoneInfo("Europe/Berlin"), parse_hours("02:15-02:45")
    utc = ZoneInfo("UTC")

    def openings(day: datetime) -> int:
        minutes = [(day + timedelta(minutes=minute)).astimezone(zone) for minute in range(24 * 60)]
        return sum(hours.holds(moment) for moment in minutes)

    assert openings(datetime(2026, 3, 28, 23, tzinfo=utc)) == 0
    assert openings(datetime(2026, 10, 24, 22, tzinfo=utc)) == 60
    assert openings(datetime(2026, 6, 1, 22, tzinfo=utc)) == 30


@pytest.mark.parametrize(
    "text", ["", "2:00-4:00", "noon", "mon 25:00-26:00", "day 02:00-04:00", "02:00-02:00", "mon- 1"]
)
def test_maintenance_hours_without_meaning_are_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_hours(text)
    assert caught.value.code == Code.STRATEGY_INVALID
