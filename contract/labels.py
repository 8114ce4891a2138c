"""The rule by which an answer equals a label, on devices and in the controller alike.

Decides how text and numbers compare. Refuses to know which model answered.
"""

from functools import lru_cache

Answer = str | float


@lru_cache(maxsize=1024)
def same_label(value: Answer, label: Answer) -> bool:
    """Tells whether an answer equals a label. A CSV may say "1.0" or "True" where the model says 1."""
    try:
        return _number(value) == _number(label)
    except ValueError:
        return str(value) == str(label)


def _number(label: Answer) -> float:
    word = str(label).lower()
    return float(word == "true") if word in ("true", "false") else float(label)
