"""A program whose output is no longer read: `edgeward device list | head` ends without an error, as other programs do.

Decides the exit code. Refuses to know what was printed.
"""

import sys
from collections.abc import Callable

READER_GONE = 141
"""128 and the number of SIGPIPE, as in shells: the reader of the output has closed the pipe, which is no error."""


def until_reader_goes(run: Callable[[], int]) -> int:
    """Returns the exit code of `run`, or READER_GONE if its standard output is closed."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter flushes it at its end, and prints an error
        return READER_GONE
    return code
