"""Changes values of keys in TOML text and leaves everything else as a person wrote it: order, comments, other tables.

Decides the place of a new line. Supports plain tables (`[broker]`) and values in one line; the caller parses the
result and compares it, because other ways of writing TOML are not supported. Refuses to know what keys mean.
"""

import json
import re
from collections.abc import Mapping

_HEADER = re.compile(r"^\s*\[(?!\[)\s*(?P<name>[\w\-]+)\s*\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"^\s*\[")


def with_values(text: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """Returns `text` in which these keys, by table, have these texts as values; missing keys and tables are added."""
    lines = text.splitlines()
    for table, wanted in values.items():
        lines = _with_table(lines, table, wanted)
    return "\n".join(lines) + "\n"


def _with_table(lines: list[str], table: str, wanted: Mapping[str, str]) -> list[str]:
    written = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in wanted.items()]
    found = [number for number, line in enumerate(lines) if (head := _HEADER.match(line)) and head["name"] == table]
    if not found:
        return [*lines, "", f"[{table}]", *written]
    begins = found[0] + 1
    ends = next((number for number in range(begins, len(lines)) if _ANY_HEADER.match(lines[number])), len(lines))
    kept = [line for line in lines[begins:ends] if not any(_sets(line, key) for key in wanted)]
    return [*lines[:begins], *written, *kept, *lines[ends:]]


def _sets(line: str, key: str) -> bool:
    return re.match(rf'\s*"?{re.escape(key)}"?\s*=', line) is not None
