"""Steps of a demo as lines of at most 80 columns, what is wrapped under each other.

Decides the width. Refuses to know what is told.
"""

import textwrap

from rich.text import Text

from edgeward.cli.render import console

MAX_COLUMNS = 80


def print_hanging(head: str, words: str) -> None:
    """Prints words behind a head, wrapped at 80 columns under each other."""
    style = "bold" if words.startswith("[bold]") else ""
    plain = words.replace("[bold]", "").replace("[/]", "")
    indent = " " * (len(plain) - len(plain.lstrip()))
    lines = textwrap.wrap(plain, MAX_COLUMNS - len(head), subsequent_indent=indent, break_on_hyphens=False) or [""]
    console.print(Text.assemble((head, "dim"), (lines[0], style)), soft_wrap=True)
    for line in lines[1:]:
        console.print(Text(" " * len(head) + line, style=style), soft_wrap=True)
