"""Maintenance hours to the minute."""

from datetime import datetime, timedelta

import pytest

from contract.errors import BadInput
from contract.maintenance import DAYS, parse_hours, wait_s

MONDAY = datetime(2026, 11, 23)  # noqa: DTZ001 - a wall clock


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


def open_minutes(text: str, day: int) -> list[int]:
    return [minute for minute in range(24 * 60) if parse_hours(text).holds(at(day, 0, minute))]


def test_a_window_is_open_from_its_first_minute_until_before_its_last() -> None:
    assert open_minutes("01:58-02:01", 0) == [118, 119, 120]
    assert open_minutes("23:58-00:01", 3) == [0, 1438, 1439]
    assert open_minutes("00:00-00:01", 6) == [0]


def test_a_window_over_midnight_belongs_to_the_day_of_its_beginning() -> None:
    by_day = [len(open_minutes("sun 22:00-01:00", day)) for day in range(7)]
    assert by_day == [60, 0, 0, 0, 0, 0, 120]
    assert [len(open_minutes("mon 22:00-01:00", day)) for day in range(7)] == [120, 60, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ("mon", {0}),
        ("sun", {6}),
        ("mon-sun", set(range(7))),
        ("tue-thu", {1, 2, 3}),
        ("sun-mon", {6, 0}),
        ("sat-tue", {5, 6, 0, 1}),
        ("wed-wed", {2}),
        ("thu-wed", set(range(7))),
        ("mon,wed-thu,sun", {0, 2, 3, 6}),
    ],
)
def test_days_are_named_one_by_one_or_as_a_range(days: str, numbers: set[int]) -> None:
    assert parse_hours(f"{days} 01:00-02:00").days == numbers


def test_a_window_without_days_is_open_every_day() -> None:
    found = parse_hours("01:02-03:04")
    assert (found.days, found.begins, found.ends) == (frozenset(range(7)), 62, 184)
    assert DAYS == ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@pytest.mark.parametrize(
    "text", ["24:00-01:00", "01:00-24:00", "00:60-01:00", "xyz 01:00-02:00", "mon-xyz 01:00-02:00"]
)
def test_an_invalid_day_or_time_of_day_is_refused_with_the_window(text: str) -> None:
    with pytest.raises(BadInput, match=text):
        parse_hours(text)


def test_the_first_and_the_last_minute_of_a_day_are_valid_times() -> None:
    assert (parse_hours("00:00-23:59").begins, parse_hours("00:00-23:59").ends) == (0, 1439)


def test_a_long_text_is_quoted_in_part() -> None:
    with pytest.raises(BadInput) as caught:
        parse_hours("x" * 100)
    assert "x" * 40 in str(caught.value)
    assert "x" * 41 not in str(caught.value)


def test_the_wait_counts_seconds_and_the_nearest_of_several_windows() -> None:
    assert wait_s(("02:00-04:00",), at(0, 1, 59, 30)) == 30.0
    assert wait_s(("02:00-04:00",), at(0, 1, 59)) == 60.0
    assert wait_s(("02:00-04:00",), at(0, 4)) == 22 * 3600.0
    assert wait_s(("02:00-04:00",), at(0, 3, 59, 59)) == 0.0
    assert wait_s(("mon 02:00-04:00",), at(0, 4)) == (7 * 24 - 2) * 3600.0
    assert wait_s(("tue 05:00-06:00", "mon 23:00-23:30"), at(0, 22)) == 3600.0
    assert wait_s(("mon 01:00-02:00", "mon 03:00-04:00"), at(0, 3)) == 0.0
    assert wait_s(("02:00-04:00",), at(0, 1, 0).replace(microsecond=500_000)) == 3599.5
