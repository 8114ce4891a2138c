"""Every command that prints a list writes it as CSV too: only headings and rows, with times in UTC."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from edgeward.cli import alert
from edgeward.cli.main import cli

SINCE = datetime(2026, 11, 27, 12, tzinfo=UTC)
ALERT = SimpleNamespace(
    fingerprint="0f3c", state="firing", severity="critical", name="DeviceDisk", about="cam-1", since=SINCE
)


def commands(of: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words."""
    if isinstance(of, click.Group):
        for name, each in of.commands.items():
            yield from commands(each, (*words, name))
    else:
        yield words, of


def test_every_command_that_lists_or_compares_writes_csv() -> None:
    listing = {
        words: each
        for words, each in commands(cli)
        if (each.help or "").startswith("List ") or words[-1] in ("list", "compare", "query", "search")
    }
    assert len(listing) > 20
    without = [words for words, each in listing.items() if not any("--csv" in option.opts for option in each.params)]
    assert without == []


@pytest.fixture
def east_of_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("east_of_utc")
def test_csv_has_a_heading_without_rows_and_times_in_the_zone_named_by_the_heading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[SimpleNamespace] = []
    monkeypatch.setattr(alert, "Client", lambda: SimpleNamespace(alerts=lambda *_, **__: found))
    heading = "id,state,severity,alert,about,since (UTC)\n"
    assert CliRunner().invoke(cli, ["alert", "list", "--csv"]).output == heading
    found.append(ALERT)
    row = "0f3c,firing,critical,DeviceDisk,cam-1,2026-11-27 12:00\n"
    assert CliRunner().invoke(cli, ["alert", "list", "--csv"]).output == heading + row
    assert "2026-11-27 13:00" in CliRunner().invoke(cli, ["alert", "list"]).output
