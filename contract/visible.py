"""Makes text from outside safe for a terminal or a log: characters that move the cursor, colour, or begin a line
are escaped.

Decides which characters are escaped: control characters except line feed and tab, and those that change the direction
of text. Refuses to know where the text comes from.
"""

import re
from typing import Any

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAYBE = re.compile(rb"\\u|\\[bfr]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""Finds JSON that may hold such a character. Most answers hold none; then their values are not searched one by one."""


def visible(text: str) -> str:
    r"""Returns the text with escapes in place of control characters: `\x1b[31m` becomes these eight characters."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def visible_values(raw: bytes, plain: Any) -> Any:
    """Returns decoded JSON with every text made visible; `raw` are its bytes, which show whether any text must be
    changed.
    """
    return _walked(plain) if _MAYBE.search(raw) else plain


def _walked(plain: Any) -> Any:
    if isinstance(plain, str):
        return visible(plain)
    if isinstance(plain, list):
        return [_walked(each) for each in plain]
    if isinstance(plain, dict):
        return {visible(key): _walked(value) for key, value in plain.items()}
    return plain


def one_line(text: str) -> str:
    """Returns the text as one line of a log, which cannot begin another line."""
    return visible(text).replace("\n", "\\n")
