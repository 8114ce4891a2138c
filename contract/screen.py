"""Lines for a person at a terminal, wrapped between words.

Decides how a line is wrapped. Refuses to know the text's meaning, and whether a screen shows it.
"""

import textwrap


def wrapped(words: str, columns: int, indent: int = 2) -> str:
    """Returns lines of at most `columns` characters; wrapped parts are indented by `indent` more than the line.

    No word is broken, because people copy commands.
    """
    return "\n".join(_wrapped(line, columns, indent) for line in words.splitlines())


def _wrapped(line: str, columns: int, indent: int) -> str:
    begins = len(line) - len(line.lstrip())
    wrapper = textwrap.TextWrapper(
        columns, subsequent_indent=" " * (begins + indent), break_long_words=False, break_on_hyphens=False
    )
    return wrapper.fill(line)
