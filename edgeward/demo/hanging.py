"""Steps of a demo as lines of at most 80 columns, with a hanging indent.

Decides the width. Refuses to know the text.
"""

import textwrap

from rich.text import Text

from edgeward.cli.render import console

MAX_COLUMNS = 80


def print_hanging(head: str, words: str) -> None:
    """Prints words after a heading, wrapped at 80 columns with a hanging indent."""
    style = "bold" if words.startswith("[bold]") else ""
    plain = words.replace("[bold]", "").replace("[/]", "")
    indent = " " * (len(plain) - len(plain.lstrip()))
    lines = textwrap.wrap(plain, MAX_COLUMNS - len(head), subsequent_indent=indent, break_on_hyphens=False) or [""]
    console.print(Text.assemble((head, "dim"), (lines[0], style)), soft_wrap=True)
    for line in lines[1:]:
        console.print(Text(" " * len(head) + line, style=style), soft_wrap=True)
