"""The file and the line of a TOML file to which a refusal refers.

Decides from the controller's words which key is meant. Refuses to know the meaning of the keys.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from contract.maintenance import parse_hours

_OF_A_FILE = frozenset({Code.STRATEGY_INVALID, Code.MESSAGE_MALFORMED, Code.CONFIG_INVALID, Code.REQUEST_INVALID})
SCHEDULE = "schedule: "
"""The beginning of the controller's errors about `--from`, `--until` and `--hours`, which are in no file."""


def hours_of_week(_context: Any, _option: Any, given: tuple[str, ...]) -> tuple[str, ...]:
    """Checks hours where they are given (a callback of click): `--hours` is named, and no file."""
    for hours in given:
        try:
            parse_hours(hours)
        except BadInput as error:
            raise click.BadParameter(error.detail.removeprefix("maintenance ")) from None
    return given


@contextmanager
def told_by_line(file: str | Path | None) -> Iterator[None]:
    """Puts `file:line: ` before errors that are raised inside; adds nothing for None, or for a file that is not
    TOML.
    """
    try:
        yield
    except BadInput as error:
        is_file = file is not None and Path(file).suffix == ".toml" and error.code in _OF_A_FILE
        if not is_file or str(file) in error.detail or error.detail.startswith(SCHEDULE):
            raise
        assert file is not None
        line = line_of(Path(file).read_text(encoding="utf-8"), error.detail)
        raise BadInput(error.code, f"{file}{f':{line}' if line else ''}: {error.detail}") from None


def line_of(text: str, said: str) -> int | None:
    """Returns the line, from 1, of the key that an error names as `$.waves[1].soak_s` or as a field; None if it names
    none.
    """
    lines = text.splitlines()
    path = re.search(r"`\$([^`]*)`", said)
    field = re.search(r"field `(\w+)`", said)
    steps = [(name, int(place or 0)) for name, place in re.findall(r"\.(\w+)(?:\[(\d+)\])?", path[1] if path else "")]
    steps += [(field[1], 0)] if field else []
    at: int | None = None
    for name, place in steps:
        after = [number for number in range(at or 0, len(lines)) if _names(lines[number], name)]
        at = after[place] if place < len(after) else at
    if not steps:
        words = set(re.findall(r"\w+", said))
        at = next((number for number, line in enumerate(lines) if _key(line) in words), None)
    return None if at is None else at + 1


def _names(line: str, name: str) -> bool:
    return re.match(rf"\s*\[+[\w.]*\b{name}\b[\w.]*\]|[^#]*\b{name}\s*=", line) is not None


def _key(line: str) -> str:
    found = re.match(r"\s*(\w+)\s*=", line)
    return found[1] if found else ""
