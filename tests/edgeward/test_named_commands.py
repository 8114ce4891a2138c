"""A command waits only for what it needs itself, and long lists come page by page."""

import subprocess
import sys
from typing import Any

import click
import pytest
from rich.console import Console

from edgeward.cli import render
from edgeward.cli.main import cli
from edgeward.cli.named_commands import NamedCommands

LISTS_DEVICES = """
import sys
from edgeward.cli.main import cli
assert cli.commands["device"].commands["list"].name == "list"
print(sorted({"numpy", "cryptography", "edgeward.cli.report", "edgeward.cli.run"} & set(sys.modules)))
"""


def test_the_list_of_devices_imports_neither_numpy_nor_other_commands() -> None:
    done = subprocess.run([sys.executable, "-c", LISTS_DEVICES], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_exists_under_its_own_name() -> None:
    assert {name: command.name for name, command in cli.commands.items()} == {name: name for name in cli.commands}


def test_a_command_is_initialised_once_before_its_first_use() -> None:
    ready: list[click.Command] = []
    commands = NamedCommands({"fleet": "edgeward.cli.fleet"}, ready.append)
    assert (list(commands), ready) == (["fleet"], [])
    assert commands["fleet"] is commands["fleet"]
    assert ready == [commands["fleet"]]
    with pytest.raises(KeyError):
        commands["flete"]


def test_a_paged_table_reads_as_one_and_each_page_is_written_before_the_next_is_requested(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = Console(width=render.WIDE, file=render.console.file, force_terminal=False)
    monkeypatch.setattr(render, "console", piped)  # another test may have imported it under COLUMNS
    rows = [("pump-1", None, "well"), ("pump-2", "v3", "silent since the roof was mended"), ("pump-10", "v3", "well")]
    seen: list[str] = []

    def pages() -> Any:
        yield rows[:2]
        seen.append(capsys.readouterr().out)
        yield rows[2:]

    columns = ("device", "version", "why")
    with click.Context(click.Command("list")):
        render.print_pages("3 devices", columns, pages(), empty="no devices")
        paged = seen[0] + capsys.readouterr().out
        render.print_table("3 devices", columns, rows, empty="no devices")
    whole = capsys.readouterr().out
    assert seen[0].count("\n") == 4
    assert [line.split() for line in paged.splitlines()] == [line.split() for line in whole.splitlines()]
    assert paged.splitlines()[:2] == ["3 devices", "device  version  why"]
