"""Standard output without the spaces that pad a table to its width, unless it is a screen.

Decides what is left out: spaces at the end of lines. Refuses to know what is printed.
"""

import io
import re
import sys
from typing import TextIO

_BLANKS = re.compile(r"[ ]+(?=\n)")


class TrimmedOutput(io.TextIOBase):
    """Writes to the present `sys.stdout`."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """The encoding of standard output."""
        return _output().encoding or "utf-8"

    def write(self, text: str, /) -> int:
        """Writes a text, to a screen unchanged."""
        to = _output()
        return to.write(text if to.isatty() else _BLANKS.sub("", text))

    def flush(self) -> None:
        """Flushes standard output."""
        _output().flush()

    def isatty(self) -> bool:
        """Returns whether standard output is a screen."""
        return _output().isatty()

    def fileno(self) -> int:
        """Returns the file descriptor, by which the size of the screen is found."""
        return _output().fileno()


def _output() -> TextIO:
    """Standard output; under a live display the one that the display itself writes to."""
    found: TextIO = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    return found
