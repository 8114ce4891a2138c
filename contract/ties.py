"""Rows for which two or more classes are equally likely, up to rounding: the labels that are right for each of them.

The order in which a processor adds the same numbers decides the last digit of a score, and this digit decides the label
of such a row. Decides by the scores that belong to the labels. Which column of the scores is which class is learned
from rows where one class alone is best; if these contradict each other, nothing counts as tied. Refuses to know what
computed the scores, and who compares. Source of the width: Higham and Mary, A New Approach to Probabilistic Rounding
Error Analysis, 2019: the error of a sum of n numbers is at most CONFIDENCE * sqrt(n) * u times the sum of their sizes,
with probability 1 - 2 exp(-CONFIDENCE**2 / 2); u is half of numpy's eps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.tensors import Array

CONFIDENCE = 4
"""At this value a sum exceeds the bound in less than 0.07 % of the cases."""
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class Ties:
    """How to find the ties among the answers of one classifier."""

    label: str
    """The name of the answer with the labels."""
    scores: str
    """The name of the answer with the scores: (rows, classes), or (rows,) margins of the second of two classes."""
    width: float
    """The largest distance from the best score at which a class is as likely as the best one."""
    classes: Mapping[int, Any]
    """The label of each column of the scores that is known."""

    def permitted(self, answers: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the right labels of each row: shape (rows, most in a row); {} if no row has more than its own."""
        labels, near = answers[self.label], _near_best(answers[self.scores], self.width)
        near = near & np.isin(np.arange(near.shape[1]), list(self.classes))
        most = int(near.sum(axis=1).max(initial=0))
        if most <= 1:
            return {}
        names = np.array([self.classes.get(column, labels[0]) for column in range(near.shape[1])])
        first = np.argsort(~near, axis=1, kind="stable")[:, :most]
        own = labels[:, None]
        right = np.where(np.take_along_axis(near, first, axis=1), names[first], own)
        best = (near & (names == own)).any(axis=1, keepdims=True)  # a label of no best class is no tie
        right = np.where(best, right, own)
        return {self.label: right} if (right != own).any() else {}


def rounding(terms: int, real: str) -> float:
    """Returns how far two equal sums of `terms` numbers in `real` (`float32`, `float64`) may differ, as a fraction."""
    return CONFIDENCE * float(np.sqrt(max(1, terms)) * np.finfo(real).eps)


def ties_of(answers: Mapping[str, Array], relative: float) -> Ties | None:
    """Returns how to find ties, learned from answers (rows, ...) by name; None unless they are labels with scores.

    `relative`: `rounding`, of the largest score.
    """
    if len(answers) != 2:
        return None
    (label, labels), (scores, numbers) = answers.items()
    whole = labels.dtype.kind not in "fc" and labels.ndim == 1
    if not (whole and numbers.dtype.kind == "f" and 1 <= numbers.ndim <= _MATRIX and len(numbers) == len(labels)):
        return None
    width = relative * float(np.abs(numbers, where=np.isfinite(numbers), out=np.zeros_like(numbers)).max(initial=0.0))
    classes = _classes(labels, _near_best(numbers, width))
    return Ties(label, scores, width, classes) if classes else None


def among(labels: Array, right: Array) -> Array:
    """Returns which labels (rows,) are among the right ones (rows, most): bool of shape (rows,)."""
    return np.asarray((labels.astype(np.str_)[:, None] == right.astype(np.str_)).any(axis=1))


def _near_best(scores: Array, width: float) -> Array:
    """Returns which classes are as likely as the best one: bool of shape (rows, classes); none where one is NaN."""
    columns = scores if scores.ndim == _MATRIX else np.stack([np.zeros_like(scores), scores], axis=1)
    if not columns.shape[1]:
        return np.zeros(columns.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(columns >= columns.max(axis=1, keepdims=True) - width)


def _classes(labels: Array, near: Array) -> dict[int, Any]:
    """Returns the label of each column that is best alone in some row; {} if rows contradict each other."""
    alone = near.sum(axis=1) == 1
    best, found = near[alone].argmax(axis=1), dict[int, Any]()
    for column in np.unique(best).tolist():
        names = np.unique(labels[alone][best == column])
        if len(names) > 1 or names[0] in found.values():
            return {}
        found[column] = names[0]
    return found
