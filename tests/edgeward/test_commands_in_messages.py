"""Every command that the page or a document names exists with its options, because people copy it."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.cli import _parser as parser_of_the_agent
from controller.api.page import STATIC
from controller.cli import _parser as parser_of_the_controller
from edgeward.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [path for path in STATIC.rglob("*.js") if "vendor" not in path.parts]
MISTAKES = "mistakes.md"
"""Its commands are wrong on purpose."""
DOCS = [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.name != MISTAKES)]
NAMED = re.compile(r"(?<![\w/.-])(edgeward(?:-agent|-controller)? [a-z][^`<\"'|\n#;&>]*)")
IN_CODE = re.compile(r"`([^`\n]+)`|^(?:\$ )?(edgeward[ -][^\n]*)", re.MULTILINE)
TEMPLATE = re.compile(r"\$\{[\w.]+\}")
OTHERS = {"edgeward-agent": parser_of_the_agent, "edgeward-controller": parser_of_the_controller}


def commands(path: Path) -> Iterator[str]:
    """Returns the commands in a file of the page, or in the code of a document."""
    text = TEMPLATE.sub("X", path.read_text(encoding="utf-8"))
    if path.suffix == ".md":
        text = "\n".join(one or other for one, other in IN_CODE.findall(text))
    for found in NAMED.findall("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("/"))):
        yield found.strip()


def fault(command: str, *, is_whole: bool) -> str:
    """Returns what is wrong with a command; `is_whole`: people copy it unchanged, so it must be complete."""
    program, *words = shlex.split(command)
    if program in OTHERS:
        actions = OTHERS[program]()._actions
        known = next(set(each.choices or ()) for each in actions if isinstance(each, argparse._SubParsersAction))
        return "" if words[0].rstrip(",.:") in known else f"{program} has no command {words[0]}"
    at: click.Command = cli
    while isinstance(at, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0].rstrip(",.:")):
        word = words.pop(0).rstrip(",.:")
        if word not in at.commands and not at.invoke_without_command:
            return f"{at.name or program} has no command {word}"
        at = at.commands.get(word, at)
    known = {option for each in at.params for option in each.opts} | {"--help", "-h", "--version"}
    if unknown := [
        word for word in words if word.startswith("--") and word.partition("=")[0].rstrip(",.") not in known
    ]:
        return f"{at.name} has no option {unknown[0]}"
    missing = [each.opts[-1] for each in at.params if isinstance(each, click.Option) and each.required]
    left_out = [option for option in missing if is_whole and words and option not in words]
    return f"{at.name} needs {left_out[0]}" if left_out else ""


@pytest.mark.parametrize("paths", [PAGES, DOCS], ids=["page", "docs"])
def test_every_command_in_messages_exists(paths: list[Path]) -> None:
    found = [(path.name, command) for path in paths for command in commands(path)]
    assert len(found) > 25
    wrong = [(name, command, fault(command, is_whole=paths is PAGES)) for name, command in found]
    assert [each for each in wrong if each[2]] == []


def test_an_unknown_or_incomplete_command_in_a_message_is_found() -> None:
    assert fault("edgeward-controller doctor", is_whole=True)
    assert fault("edgeward model label", is_whole=True)
    assert fault("edgeward model list --colour", is_whole=False)
    assert fault("edgeward model push train.py", is_whole=True)
    assert not fault("edgeward model push train.py --name iris", is_whole=True)
