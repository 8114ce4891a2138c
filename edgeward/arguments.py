"""Checks the arguments of a caller before they are used or sent.

Decides the words of an error: the argument, the entry, its present value, and what to pass. Refuses to know what
the arguments are for.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NoReturn

from contract.errors import BadInput, Code

MAX_SHOWN_CHARS = 40
"""Characters of a wrong value that are shown: a DataFrame would fill the screen."""

Check = Callable[[str, Any], None]
_SHORT = (str, int, float, bool, type(None))


def _of_numpy(value: Any) -> bool:
    """Whether it is a number of numpy, or an array. Numpy is not imported for that: most calls do without it."""
    return type(value).__module__ == "numpy" and hasattr(value, "shape")


def refuse(argument: str, value: Any, wanted: str) -> NoReturn:
    """Raises BadInput `request_invalid` with the argument, what it is, and what to pass."""
    shown = f"{value!r}, of type" if isinstance(value, _SHORT) or _of_numpy(value) else "a"
    raise BadInput(
        Code.REQUEST_INVALID, f"{argument} is {shown[:MAX_SHOWN_CHARS]} {type(value).__name__}: pass {wanted}"
    )


def text(argument: str, value: Any) -> None:
    """Refuses anything but a text."""
    if not isinstance(value, str):
        refuse(argument, value, f"a text, such as {str(value)!r}" if isinstance(value, int | float) else "a text")


def text_or_number(argument: str, value: Any) -> None:
    """Refuses anything but a text or a whole number, which name a release."""
    if not isinstance(value, str | Integral) or isinstance(value, bool):
        refuse(argument, value, "a number, or a text")


def number(argument: str, value: Any) -> None:
    """Refuses anything but a number; numpy's numbers are accepted."""
    if _of_numpy(value) and value.shape == ():
        value = value.item()
    if not isinstance(value, Real):
        refuse(argument, value, "a number")


def whole_number(argument: str, value: Any) -> None:
    """Refuses anything but a whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        refuse(argument, value, "a whole number")


def flag(argument: str, value: Any) -> None:
    """Refuses what is neither True nor False: a text such as "no" would count as True."""
    if not isinstance(value, bool) and not (_of_numpy(value) and value.dtype == bool and value.shape == ()):
        refuse(argument, value, "True or False")


def function(argument: str, value: Any) -> None:
    """Refuses what cannot be called."""
    if not callable(value):
        refuse(argument, value, "a function of (model, held-out rows)")


def by_name(argument: str, given: Any, of_each: Check | None, example: str) -> None:
    """Refuses anything but None or a mapping from texts to values that `of_each` accepts."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        refuse(argument, given, f"a dict, such as {example}")
    for name, value in given.items():
        if not isinstance(name, str):
            refuse(f"a name in {argument}", name, "a text")
        if of_each is not None:
            of_each(f"{argument}[{name!r}]", value)


def texts(argument: str, given: Any, example: str) -> None:
    """Refuses anything but a sequence of texts; a single text would be read letter by letter."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        refuse(argument, given, f"several, such as {example}")
    for at, value in enumerate(given):
        text(f"{argument}[{at}]", value)
