"""The names nearest to a mistyped one, in the words of an error.

Decides which names are near, and how many are named. Refuses to know what the names are of.
"""

import difflib
from collections.abc import Collection

NEAR_RATIO = 0.6
"""The least similarity of a suggestion, as difflib measures it: one wrong letter in three."""
MAX_COMPARED = 5_000
"""Names that are compared: 5,000 take 30 ms; a larger fleet gets no suggestion."""
MAX_NAMED = 10
"""Names in an error: they fit on two lines."""


def nearest(word: str, names: Collection[str]) -> str:
    """Returns the name that is most like `word`; empty if none is near."""
    if len(names) > MAX_COMPARED:
        return ""
    return next(iter(difflib.get_close_matches(word[:64], names, 1, NEAR_RATIO)), "")


def is_it(word: str, names: Collection[str]) -> str:
    """Returns `; is it 'NAME'?` for the nearest name; empty if none is near."""
    near = nearest(word, names)
    return f"; is it {near!r}?" if near else ""


def some_of(names: Collection[str]) -> str:
    """Returns up to MAX_NAMED names, and how many there are besides; `none` for no names."""
    more = len(names) - MAX_NAMED
    return (", ".join(list(names)[:MAX_NAMED]) or "none") + (f" and {more} more" if more > 0 else "")
