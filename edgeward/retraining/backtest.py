"""A backtest: a training is repeated as it would have been done in the past, and each fit answers the rows that
followed.

Decides the folds, and how many of the newest rows a fit learns. Refuses to know estimators, and how a gate judges.
Method: evaluation with a rolling origin (Tashman 2000, "Out-of-sample tests of forecasting accuracy"). The choice of a
span uses only folds before the judged one (prequential, Dawid 1984), so that the choice makes no answer look better
than it would have been.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array
from edgeward.held_out import HeldOut, seconds

DAY_S = 86_400.0
MAX_FOLDS = 200
"""The most folds, each of which costs a fit for each span: four years of weeks."""

Fit = Callable[[Any, Any], Any]
"""A function of (rows, labels) that returns a fitted model with `predict`."""


@dataclass(frozen=True)
class Backtested:
    """A model that has learned the newest rows too, and the evidence for its gate."""

    model: Any
    held_out: HeldOut
    """The rows of all folds, each with the answer of a fit that has learned only rows before its fold."""
    first: int
    """The number of the first row that the model has learned."""
    fits: int
    """The number of fits, with the model's own."""


def backtest(
    fit: Fit,
    rows: Any,
    labels: Any,
    times: Any,
    *,
    fold_s: float = 7 * DAY_S,
    folds: int = 26,
    since: float = -math.inf,
    spans: Sequence[int | None] = (None,),
    classifies: bool = True,
) -> Backtested:
    """Repeats a training before each of the newest `folds` folds of `fold_s` seconds, then fits the model on all rows.

    `rows` and `labels`, both (rows,) or (rows, ...), are in the order of `times` (rows,). Folds begin at multiples of
    `fold_s`, so that the next backtest has the same ones. Rows until `since`, in seconds, are no evidence: the champion
    has learned them. `spans` are numbers of newest rows from which a fit learns; None: all. Of several, a fold takes
    the best one of the folds before it, and the first fold takes the first one.

    BadInput `sample_missing` if no fold has both rows and older rows to learn.
    """
    at, truth = seconds(times), np.asarray(labels)
    cuts = _cuts(at, fold_s, min(folds, MAX_FOLDS), since)
    if len(cuts) < 2:
        raise BadInput(Code.SAMPLE_MISSING, f"{len(at)} rows have no fold of {fold_s:g} s with older rows to learn")
    totals, fits = np.zeros(len(spans)), 0
    chosen: list[Array] = []
    for begin, end in pairwise(cuts):
        answers = [fit(rows[a:begin], labels[a:begin]).predict(rows[begin:end]) for a in _firsts(spans, begin)]
        chosen.append(np.asarray(answers[int(totals.argmax())]))
        totals += np.array([_score(each, truth[begin:end], classifies=classifies) for each in answers])
        fits += len(answers)
    first = list(_firsts(spans, len(at)))[int(totals.argmax())]
    held_out = HeldOut(
        rows[cuts[0] :],
        labels[cuts[0] :],
        at[cuts[0] :],
        float(at[-1]),
        answers=np.concatenate(chosen),
        fitted_until=np.concatenate([np.full(end - begin, at[begin - 1]) for begin, end in pairwise(cuts)]),
    )
    return Backtested(fit(rows[first:], labels[first:]), held_out, first, fits + 1)


def _cuts(at: Array, fold_s: float, folds: int, since: float) -> list[int]:
    """Returns the row numbers at which folds begin, and the number of rows. Rows of one moment stay in one fold."""
    newest = at[-1] // fold_s
    begins = np.maximum(fold_s * np.arange(newest - folds + 1, newest + 1), np.nextafter(since, np.inf))
    numbers = {int(each) for each in np.searchsorted(at, begins)}
    return sorted(number for number in numbers | {len(at)} if number > 0)


def _firsts(spans: Sequence[int | None], until: int) -> Iterator[int]:
    """The first row that a fit before row `until` learns, by span."""
    return (0 if span is None else max(0, until - span) for span in spans)


def _score(answers: Any, labels: Array, *, classifies: bool) -> float:
    """The number of right answers, or the sum of absolute errors with a minus: larger is better."""
    if classifies:
        return float((np.asarray(answers) == labels).sum())
    return -float(np.abs(np.asarray(answers, dtype=np.float64).reshape(-1) - labels).sum())
