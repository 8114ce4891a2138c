"""An estimator's own answers to rows: which methods are called, and which rows it refuses.

Decides what counts as a prediction and what is recorded with it: probabilities if there are any, else margins, else
scores. Answers become plain arrays. Refuses to know scikit-learn: an estimator is any object with such methods.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from contract.tensors import Array

FIRST = ("predict", "transform")
SECOND = ("predict_proba", "decision_function", "score_samples", "transform")
MAX_ASKED = 12
"""The most calls for one group of rows: it is halved until each refused row is alone. After that the rest counts as
refused: it is not compared, and devices must send the values that it lacks.
"""

Answers = dict[str, Array]
"""Arrays of shape (rows,) or (rows, ...) by method."""


def methods_of(estimator: Any) -> tuple[str, ...]:
    """Returns the one or two methods by which an estimator answers; () if it cannot predict or transform."""
    first = next((name for name in FIRST if hasattr(estimator, name)), None)
    if first is None or first == "transform":
        return (first,) if first else ()
    second = next((name for name in SECOND if hasattr(estimator, name)), None)
    return (first, second) if second else (first,)


def ask(estimator: Any, rows: Any) -> Answers:
    """Returns the answers to all rows. Raises what the estimator raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # devices send arrays without the fitted names
        found = {name: plain(getattr(estimator, name)(rows)) for name in methods_of(estimator)}
    alone = hasattr(rows, "__len__") and len(rows) == 1  # SparsePCA drops the row axis of a single row
    return {name: array[None] if alone and array.shape[:1] != (1,) else array for name, array in found.items()}


def plain(answer: Any) -> Array:
    """Returns an answer as an array of numbers or of texts: sparse ones become dense, yes and no become 1 and 0.

    A list of arrays, one for each output, becomes one array (outputs, rows, ...).
    """
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    if array.dtype == np.bool_:
        return array.astype(np.int64)
    return array.astype(np.str_) if array.dtype == object else array


def ask_each(
    asked: Callable[[int, int], Answers], runs: Iterable[Sequence[tuple[int, int]]], count: int
) -> tuple[Answers, Array]:
    """Returns (the answers to the rows that are answered, which of the `count` rows these are: bool).

    `asked(start, stop)` answers the rows from `start` to before `stop`, or raises. A run is a series of neighbouring
    groups. It is asked as a whole, because a forest takes as long for each call as for 500 rows. If a run is refused,
    each of its groups is asked; a group that is refused is halved.
    """
    answered, pieces = np.zeros(count, dtype=bool), list[tuple[int, Answers]]()
    for run in runs:
        found = _ask_run(asked, run)
        pieces += [(start, answers) for start, _, answers in found]
        for start, stop, _ in found:
            answered[start:stop] = True
    ordered = [answers for _, answers in sorted(pieces, key=lambda piece: piece[0])]
    names = ordered[0] if ordered else ()
    return {name: np.concatenate([answers[name] for answers in ordered]) for name in names}, answered


def _ask_run(asked: Callable[[int, int], Answers], run: Sequence[tuple[int, int]]) -> list[tuple[int, int, Answers]]:
    if len(run) > 1:
        start, stop = run[0][0], run[-1][1]
        with suppress(Exception):  # an estimator may raise anything; its groups are then asked one by one
            return [(start, stop, asked(start, stop))]
    return [found for group in run for found in _ask_group(asked, group)]


def _ask_group(asked: Callable[[int, int], Answers], group: tuple[int, int]) -> list[tuple[int, int, Answers]]:
    """Returns (start, stop, answers) of each answered part of a group."""
    found, waiting, calls = list[tuple[int, int, Answers]](), [group], 0
    while waiting and calls < MAX_ASKED:
        start, stop = waiting.pop()
        calls += 1
        try:
            found.append((start, stop, asked(start, stop)))
        except Exception:  # an estimator may raise anything; such a row has no answer
            if stop - start > 1:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
    return found
