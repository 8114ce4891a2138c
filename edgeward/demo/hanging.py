"""Steps of a demo as lines of at most 80 columns, with a hanging indent.

Decides the width, and that a heading is bold. Refuses to know the text.
"""

import textwrap
from typing import Protocol

from rich.text import Text

from edgeward.cli.render import console

MAX_COLUMNS = 80


class Tell(Protocol):
    """Prints a step of a demo; a chapter's heading is bold."""

    def __call__(self, words: str, *, bold: bool = False) -> None:
        """Prints it."""


def print_hanging(head: str, words: str, *, bold: bool = False) -> None:
    """Prints words after a heading, wrapped at 80 columns with a hanging indent."""
    style = "bold" if bold else ""
    indent = " " * (len(words) - len(words.lstrip()))
    lines = textwrap.wrap(words, MAX_COLUMNS - len(head), subsequent_indent=indent, break_on_hyphens=False) or [""]
    console.print(Text.assemble((head, "dim"), (lines[0], style)), soft_wrap=True)
    for line in lines[1:]:
        console.print(Text(" " * len(head) + line, style=style), soft_wrap=True)
