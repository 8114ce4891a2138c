"""Scores of a pipeline over folds: accuracy of a classification, R2 of a regression.

Decides which rows are used for fitting and for scoring. Refuses to know measures of a device.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edgeward.automl.folds import Rows, Task


class Teaches(Protocol):
    """A teacher's answers by fold."""

    def answers(self, fold: int) -> tuple[Any, Any]:
        """Returns (answers to the rows for fitting, to those for scoring)."""
        ...

    @property
    def answers_to_all(self) -> Any:
        """Answers to all rows."""
        ...


def score_of(task: Task, truth: Any, answers: Any) -> float:
    """Returns accuracy, or R2; both are 1.0 if all answers are right."""
    if task == "classification":
        return float(np.mean(np.asarray(truth) == np.asarray(answers)))
    from sklearn.metrics import r2_score

    return float(r2_score(truth, answers))


def score_folds(
    pipeline: Any, rows: Rows, teacher: Teaches | None = None, *, until: float | None = None
) -> tuple[tuple[float, ...], float | None]:
    """Returns (score of each fold, agreement with the teacher), both without the folds that have not begun at `until`.

    `until` is in seconds of `time.monotonic`; None: all folds are scored.
    """
    scores: list[float] = []
    agreed: list[float] = []
    for number, (fit, score) in enumerate(rows.folds):
        if scores and until is not None and time.monotonic() > until:
            break
        learnt, beside = (rows.target[fit], None) if teacher is None else teacher.answers(number)
        answers = fitted(pipeline, rows.features.iloc[fit], learnt).predict(rows.features.iloc[score])
        scores.append(score_of(rows.task, rows.target[score], answers))
        agreed += [score_of(rows.task, beside, answers)] if beside is not None else []
    return tuple(scores), float(np.mean(agreed)) if agreed else None


def fitted(pipeline: Any, features: Any, target: Any) -> Any:
    """Returns a fitted copy. Warnings are suppressed: an optimiser that has not converged shows in the score."""
    from sklearn.base import clone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(pipeline).fit(features, target)


def spread(scores: Sequence[float]) -> float:
    """The standard error of a mean over folds."""
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0
