"""Text of others as a terminal or a log may show it: what would move the cursor, colour, or begin a line is escaped.

Decides which characters are shown as their escapes: controls but line feed and tab, and those that turn the direction
of text around. Refuses to know who says what.
"""

import re
from typing import Any

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAYBE = re.compile(rb"\\u|\\[bfr]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""What JSON looks like that may hold one: most answers hold none, and are not walked through."""


def visible(text: str) -> str:
    r"""The text with escapes in place of control characters: `\x1b[31m` stays these seven characters."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def visible_values(raw: bytes, plain: Any) -> Any:
    """Decoded JSON with every text visible; `raw` are its bytes, which tell whether there is anything to do."""
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
    """The text as one line of a log: nobody can begin another one in it."""
    return visible(text).replace("\n", "\\n")
