"""Whatever a device, a person or the controller wrote appears letter by letter, in every command that prints it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.errors import MarkupError

from edgeward.cli import device_asked
from edgeward.cli.main import cli
from edgeward.cli.render import console, say, table
from tests.edgeward.hostile_answers import make_hostile

MARK, EMOJI = "mallory", "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}"
"""What is left of the text where it is read as markup. Its end may be cut, as that of any long text."""
ELSEWHERE = {
    "demo",
    "worker",
    "page",
    "completion",
    "pipeline",
    "automl",
    "run",
    "backup",
    "top",
    "watcher",
    "attest",
    "report",
}
"""Commands that start programs, draw on a screen, or read files of this machine alone."""
SHOWS = {
    ("device", "show"), ("device", "why"), ("device", "list"), ("device", "logs"), ("device", "doctor"),
    ("device", "note"), ("model", "show"), ("model", "discussion"), ("rollout", "show"),
    ("rollout", "timeline"), ("rollout", "discussion"), ("rollout", "ticket"), ("rollout", "plan"), ("fleet",),
    ("selector", "list"), ("token", "list"), ("alert", "list"), ("stick", "export"),
}  # fmt: skip
"""Commands of the attack, and beside them those that print most of what others write."""


def commands(of: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(of, click.Group):
        for name in of.commands:
            if name not in ELSEWHERE:
                yield from commands(of.commands[name], (*words, name))
    else:
        yield words, of


def call_of(words: tuple[str, ...], command: click.Command, file: Path) -> list[str]:
    """The command line with a value for whatever it needs."""
    call = list(words)
    for each in command.params:
        if each.required and isinstance(each.type, click.Path):
            value = str(file if each.type.exists else file.parent / "out")
        elif isinstance(each.type, click.Choice):
            value = str(each.type.choices[0])
        else:
            value = "3" if each.type.name.startswith(("int", "float")) else "a"
        if each.required:
            call += [value] if isinstance(each, click.Argument) else [each.opts[0], value]
    return call


def test_every_command_prints_the_texts_of_others_letter_by_letter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_hostile(monkeypatch)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "given"
    file.write_text("a\n")
    printed, wrong = set(), {}
    for words, command in commands(cli):
        flags = [each.opts[0] for each in command.params if words in SHOWS and each.opts[0] in ("--json", "--csv")]
        for flag in ("", *flags):
            done = CliRunner().invoke(cli, [*call_of(words, command, file), *([flag] if flag else [])])
            if MARK in done.output and not flag:
                printed.add(words)
            whole = done.output.count(MARK) == done.output.count(f"[red]{MARK}") and EMOJI not in done.output
            if isinstance(done.exception, MarkupError) or not whole:
                wrong[(*words, flag)] = done.output or repr(done.exception)
    assert wrong == {}
    assert SHOWS - printed == set()
    assert len(printed) > 50


def test_no_text_begins_another_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a: ", ("wrong\nb: well", "red"))
    assert capsys.readouterr().out == "a: wrong\\nb: well\n"


def test_answers_of_a_device_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(lines=("disk ok\nFAIL clock", "[red]x[/]"), left_out=0)
    monkeypatch.setattr(device_asked, "Client", lambda: SimpleNamespace(logs=lambda *_: found, doctor=lambda *_: found))
    for command in ("logs", "doctor"):
        assert CliRunner().invoke(cli, ["device", command, "d"]).output == "disk ok\\nFAIL clock\n[red]x[/]\n"


def test_a_cell_imitates_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    for width in (200, 20):
        console.print(table("t", ("name", "why"), [("a\nevil", "one\ntwo")]), width=width)
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith(("evil", "two"))] == []
