"""Labels: what is a usable one, settled once where it enters, and the rule by which an answer equals one.

Decides how text and numbers compare, on devices and in the controller alike. Refuses to know which model answered.
"""

import math
from enum import Enum
from functools import lru_cache
from typing import Any

Answer = str | float

LARGEST = 1e100
"""The largest number that counts as a label, or as a distance from one. The square of it, added up over every
inference of a device's life, is still a number."""
MAX_LABEL_CHARS = 256
"""The longest text that counts as a label; class names are shorter, and a whole file in a cell is none."""


class Unusable(Enum):
    """Something stands where a label belongs, and it is none."""

    LABEL = "label"


def settle_label(given: Any, *, regression: bool) -> Answer | Unusable | None:
    """Returns the label in `given`: a finite number for a regression, else text or a number.

    None where it is missing: None, an empty or blank text, NaN. `Unusable` where it is there and no label: infinity,
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
    """Tells whether an answer equals a label. A CSV may say "1.0" or "True" where the model says 1."""
    return plain_label(value) == plain_label(label)


@lru_cache(maxsize=1024)
def plain_label(label: Answer) -> Answer:
    """Returns the one form of all spellings of a label: the number that it says, else its text."""
    number = _number(label)
    return str(label) if number is None else number


def _number(label: Answer) -> float | None:
    """Returns the finite number that a label says; None for any other text."""
    word = str(label).lower()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        number = float(label)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
