"""TOML text read as a configuration. An error names the file, the line, the key and what is allowed there.

Decides which line an error names. Refuses to know where the text came from.
"""

import re
import tomllib
from typing import TypeVar

import msgspec

from contract.errors import BadInput, Code

T = TypeVar("T")

_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_TABLE = re.compile(r"^\s*\[(?P<array>\[)?\s*(?P<name>[\w.\-]+)\s*\]")


def decode_toml(text: str, kind: type[T], source: str) -> T:
    """Returns `text` as a `kind`; BadInput `config_invalid` with ``source:line: what is wrong``."""
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{source}: {error}") from None
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        line = line_of(text, str(error))
        place = f"{source}:{line}" if line else source
        raise BadInput(Code.CONFIG_INVALID, f"{place}: {error}") from None


def line_of(text: str, complaint: str) -> int | None:
    """Returns the line (from 1) of the key in msgspec's error, or of its table if the key is missing."""
    place, unknown = _PLACE.search(complaint), _UNKNOWN.search(complaint)
    steps = re.findall(r"[\w\-]+", place["path"]) if place else []
    if unknown:
        steps.append(unknown["key"])
    for length in range(len(steps), 0, -1):
        found = _find(text.splitlines(), steps[:length])
        if found is not None:
            return found
    return None


def _find(lines: list[str], wanted: list[str]) -> int | None:
    """Returns the line of the key or table at this path. A number in the path is an index of `[[tables]]`, from 0."""
    table: list[str] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(lines, start=1):
        if header := _TABLE.match(line):
            table = _numbered(header["name"].split("."), header["array"] is not None, seen)
            if table == wanted:
                return number
        elif re.match(rf'\s*"?{re.escape(wanted[-1])}"?\s*=', line) and table == wanted[:-1]:
            return number
    return None


def _numbered(names: list[str], array: bool, seen: dict[tuple[str, ...], int]) -> list[str]:
    path: list[str] = []
    for position, name in enumerate(names):
        path.append(name)
        if array and position == len(names) - 1:
            seen[tuple(path)] = seen.get(tuple(path), -1) + 1
        if tuple(path) in seen:
            path.append(str(seen[tuple(path)]))
    return path
