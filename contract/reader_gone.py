"""A program whose reader has gone: `edgeward device list | head` ends in silence, as every other program of a shell.

Decides the exit code. Refuses to know what was printed.
"""

import sys
from collections.abc import Callable

READER_GONE = 141
"""128 and the number of SIGPIPE, as in shells: the reader of the output has closed the pipe, and nothing is wrong."""


def until_reader_goes(run: Callable[[], int]) -> int:
    """Returns the exit code of `run`, or READER_GONE where nobody reads its standard output any more."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter flushes it at its end, and complains
        return READER_GONE
    return code
