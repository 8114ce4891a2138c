"""Parameters by which an estimator would open files, and callables by which it would run foreign code.

Checks every object inside an estimator: fitted parts and parameters. Refuses to know types: see `trusted_types`.
"""

from collections.abc import Iterator
from functools import partial
from types import BuiltinFunctionType, BuiltinMethodType, MethodType
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from contract.errors import BadInput, Code

MAX_PARTS = 1_000_000
"""Objects inside one estimator that are checked: a forest of 10,000 trees has 100,000. An estimator with more is
refused."""

OPENS = {
    "input": ("content", "its rows are names of files that it would read: fit it with input='content'"),
    "memory": (None, "it keeps its steps in a directory: fit it with memory=None"),
}
"""The harmless value of each parameter, and why others are refused. A test compares this table with scikit-learn's
documentation."""

_CHECKS = {"dtype", "ensure_all_finite", "force_all_finite"}
"""The options of the check of arrays: none of them is a callable. The last one is the former name, before
scikit-learn 1.6.
"""
_RUNS = (partial, BuiltinFunctionType, BuiltinMethodType, MethodType)


def refuse_opening(estimator: Any) -> None:
    """Raises BadInput `estimator_unsupported` for a part that would open files or call code outside scikit-learn."""
    for owner, name, value in _attributes(estimator):
        if name in OPENS and _is_parameter(owner, name) and not _is(value, OPENS[name][0]):
            raise _refused(owner, f"{name}={value!r:.40}: {OPENS[name][1]}")
        if isinstance(value, _RUNS) and not _checks_numbers(value):
            raise _refused(owner, f"{name}={value!r:.60} would run while it is converted: leave it out")


def _checks_numbers(value: Any) -> bool:
    """Tells whether a callable is scikit-learn's check of an array, as boosting by categories keeps it."""
    return type(value) is partial and value.func is check_array and not value.args and set(value.keywords) <= _CHECKS


def _is_parameter(owner: Any, name: str) -> bool:
    """Tells whether `name` is a parameter of an estimator.

    In dictionaries and fitted data, these words have no such meaning.
    """
    return hasattr(owner, "get_params") and name in type(owner)._get_param_names()


def _is(value: Any, harmless: str | None) -> bool:
    return type(value) is type(harmless) and value == harmless


def _refused(owner: Any, words: str) -> BadInput:
    return BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{type(owner).__name__}: {words}")


def _attributes(estimator: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yields (owner, name, value) for every object inside the estimator, each owner once."""
    seen: dict[int, Any] = {}
    waiting = [estimator]
    while waiting:
        owner = waiting.pop()
        if id(owner) in seen:
            continue
        seen[id(owner)] = owner
        if len(seen) > MAX_PARTS:
            raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"more than {MAX_PARTS} parts")
        for name, value in _parts(owner):
            yield owner, name, value
            if not isinstance(value, (str, bytes, int, float, bool, type(None), np.generic)):
                waiting.append(value)


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(owner, np.ndarray):
        if owner.dtype.hasobject:
            yield from (("element", value) for value in owner.reshape(-1).tolist())
        return
    if isinstance(owner, dict):
        yield from ((str(key), value) for key, value in owner.items())
    elif isinstance(owner, (list, tuple, set, frozenset)):
        yield from (("element", value) for value in owner)
    if not isinstance(owner, type) and hasattr(owner, "__dict__"):
        yield from ((str(name), value) for name, value in vars(owner).items())
