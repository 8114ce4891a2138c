"""Labels: what a usable label is, converted once where it enters, and the rule by which an answer equals one.

Decides how text and numbers compare, on devices and in the controller. Refuses to know which model answered.
"""

import math
from enum import Enum
from functools import lru_cache
from typing import Any

Answer = str | float

LARGEST = 1e100
"""The largest number that counts as a label, or as a distance from one. Its square, summed over every inference of a
device's life, is still a finite number."""
MAX_LABEL_CHARS = 256
"""The longest text that counts as a label. Class names are shorter, and a cell that holds a whole file is no label."""


class Unusable(Enum):
    """A value was given as a label but cannot be one."""

    LABEL = "label"


def settle_label(given: Any, *, regression: bool) -> Answer | Unusable | None:
    """Returns the label in `given`: a finite number for a regression, else text or a number.

    None if it is missing: None, an empty or blank text, NaN. `Unusable` if a value is given that is no label: infinity,
    text for a regression, a list.
    """
    plain = given.item() if hasattr(given, "item") and getattr(given, "size", 0) == 1 else given
    if plain is None or (isinstance(plain, str) and not plain.strip()):
        return None
    if isinstance(plain, str) and len(plain) > MAX_LABEL_CHARS:
        return Unusable.LABEL
    if not regression and isinstance(plain, str):
        return None if plain.strip().lower() == "nan" else plain
    number = _as_number(plain)
    return number if regression or not isinstance(number, float) else plain


def _as_number(plain: Any) -> float | Unusable | None:
    if not isinstance(plain, str | bool | int | float):
        return Unusable.LABEL
    try:
        number = float(plain)
    except (ValueError, OverflowError):
        return Unusable.LABEL
    if math.isnan(number):
        return None
    return number if abs(number) <= LARGEST else Unusable.LABEL


def same_label(value: Answer, label: Answer) -> bool:
    """Tells whether an answer equals a label. A CSV may hold "1.0" or "True" where the model answers 1."""
    return plain_label(value) == plain_label(label)


@lru_cache(maxsize=1024)
def plain_label(label: Answer) -> Answer:
    """Returns the one form of all spellings of a label: its number, or else its text."""
    number = _number(label)
    return str(label) if number is None else number


def _number(label: Answer) -> float | None:
    """Returns the finite number in a label; None for any other text."""
    word = str(label).lower()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        number = float(label)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
