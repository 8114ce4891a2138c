"""When an answer meets a label, on devices and in the controller alike. Refuses to know who asks."""

from functools import lru_cache

Answer = str | float


@lru_cache(maxsize=1024)
def same_label(value: Answer, label: Answer) -> bool:
    """Whether an answer meets a label: a CSV says "1.0" or "True" where the model says 1."""
    try:
        return _number(value) == _number(label)
    except ValueError:
        return str(value) == str(label)


def _number(label: Answer) -> float:
    word = str(label).lower()
    return float(word == "true") if word in ("true", "false") else float(label)
