"""The forms of a time in a command: the same in every command, in the zone of this machine, and named in errors."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from edgeward.cli.main import cli
from edgeward.cli.times import AGO, AHEAD, FUTURE, PAST, When, length_of, moment_of
from tests.edgeward.test_every_command_has_json import leaves

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("now", "2026-11-27T12:30+00:00"),
        ("today", "2026-11-27T00:00+01:00"),
        ("Yesterday", "2026-11-26T00:00+01:00"),
        ("tomorrow", "2026-11-28T00:00+01:00"),
        ("30m", "2026-11-27T12:00+00:00"),
        ("2h", "2026-11-27T10:30+00:00"),
        ("2h ago", "2026-11-27T10:30+00:00"),
        ("1.5d", "2026-11-26T00:30+00:00"),
        ("1w", "2026-11-20T12:30+00:00"),
        ("2026-11-01", "2026-11-01T00:00+01:00"),
        ("2026-11-01T13:00", "2026-11-01T13:00+01:00"),
        ("2026-11-01 13:00", "2026-11-01T13:00+01:00"),
        ("2026-11-01T13:00+05:00", "2026-11-01T13:00+05:00"),
        ("2026-11-01T13:00Z", "2026-11-01T13:00+00:00"),
    ],
)
def test_a_time_is_a_day_an_age_or_a_date_in_the_zone_of_this_machine(text: str, means: str) -> None:
    found = moment_of(text, NOW)
    assert found == datetime.fromisoformat(means)
    assert found.tzinfo is not None


def test_a_length_is_before_now_in_the_past_and_after_now_in_the_future() -> None:
    assert moment_of("2h", NOW, ahead=True) - NOW == NOW - moment_of("2h", NOW) == length_of("2h") == timedelta(hours=2)


@pytest.mark.parametrize("text", ["", "soon", "7y", "yesterdy", "2026-13-01", "999999w", "0001-01-01", "h", "-2h"])
def test_any_other_text_is_refused_with_every_form(text: str) -> None:
    for kind, forms in ((PAST, AGO), (FUTURE, AHEAD)):
        with pytest.raises(click.BadParameter) as caught:
            kind.convert(text, None, None)
        assert caught.value.message.endswith(f"is no time; write {forms}")


def test_every_command_that_takes_a_time_takes_all_of_its_forms() -> None:
    timed = {
        f"{name} {option.opts[0]}": option
        for name, command in leaves(cli)
        for option in command.params
        if {"--since", "--until", "--before", "--from"}.intersection(option.opts) and option.metavar == "WHEN"
    }
    assert len(timed) > 15, "the walk has found the options"
    assert {name for name, option in timed.items() if not isinstance(option.type, When)} == set()
    raw = [name for name, each in leaves(cli) if any(isinstance(option.type, click.DateTime) for option in each.params)]
    assert raw == [], "a person is not shown formats of strptime"


def test_a_wrong_time_is_a_wrong_argument_and_the_error_fits_the_screen() -> None:
    done = CliRunner().invoke(cli, ["audit", "list", "--since", "yesterdy"])
    assert done.exit_code == 2
    assert "'yesterdy' is no time; write today, yesterday" in " ".join(done.output.split())
