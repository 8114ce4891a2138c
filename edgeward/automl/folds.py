"""Rows of a frame as features and target, and how they are split: by time if rows have one, else stratified.

Decides the task, the order and the folds. Refuses to know pipelines.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from contract.errors import BadInput, Code

Task = Literal["classification", "regression"]
FOLDS = 3
"""Three folds distinguish models that differ by a point from 300 rows on, and cost three fits."""
MAX_CLASSES = 20
"""Whole numbers with at most so many distinct values are labels; with more they are a quantity."""
MIN_ROWS = 60
"""With fewer rows the error of a score is larger than the differences between pipelines."""


@dataclass(frozen=True)
class Rows:
    """Features, target and folds."""

    features: Any
    """DataFrame of shape (rows, columns), in the order of time where there is one."""
    target: Any
    """Array of shape (rows,)."""
    task: Task
    folds: tuple[tuple[Any, Any], ...]
    """(rows to fit, rows to score) as positions in the frame."""
    split: str
    """How the folds were made, in words."""

    @property
    def text_columns(self) -> list[str]:
        """Returns the columns that are no numbers."""
        return [str(name) for name in self.features.columns if self.features[name].dtype.kind not in "fiub"]

    @property
    def has_gaps(self) -> bool:
        """Returns whether any number is missing."""
        numbers = self.features.select_dtypes(include="number")
        return bool(numbers.isna().to_numpy().any())


def read_rows(frame: Any, target: str, *, task: Task | None = None, time: str = "", seed: int = 0) -> Rows:
    """Cuts a DataFrame into features and target. BadInput `request_invalid` names what is wrong with it."""
    for name in (target, *([time] if time else [])):
        if name not in frame.columns:
            known = ", ".join(map(str, frame.columns[:10]))
            raise BadInput(Code.REQUEST_INVALID, f"no column {name!r}: the columns are {known}")
    frame = frame.dropna(subset=[target])
    if len(frame) < MIN_ROWS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(frame)} rows with a {target}: a search needs {MIN_ROWS}")
    frame = frame.sort_values(time, kind="stable").drop(columns=[time]) if time else frame
    frame = frame.reset_index(drop=True)
    labels = frame[target].to_numpy()
    task = task or task_of(labels)
    if task == "regression" and labels.dtype.kind not in "fiub":
        raise BadInput(Code.REQUEST_INVALID, f"{target} holds texts: a regression needs numbers")
    labels = labels.astype(np.float64) if task == "regression" else _labels(labels)
    features = frame.drop(columns=[target])
    features.columns = [str(name) for name in features.columns]
    if features.shape[1] == 0:
        raise BadInput(Code.REQUEST_INVALID, f"beside {target} there is no column to learn from")
    folds, words = _folds(features, labels, task, bool(time), seed)
    return Rows(features, labels, task, folds, words)


def task_of(labels: Any) -> Task:
    """Returns the task for a target: texts, truth values and few distinct whole numbers are labels."""
    if labels.dtype.kind in "fiu":
        values = np.unique(labels[np.isfinite(labels)] if labels.dtype.kind == "f" else labels)
        whole = bool((values == np.round(values)).all())
        return "classification" if whole and len(values) <= MAX_CLASSES else "regression"
    return "classification"


def _labels(labels: Any) -> Any:
    """Returns labels as whole numbers if they are numbers, else as texts; truth values become 0 and 1."""
    if labels.dtype.kind in "fiub":
        return labels.astype(np.int64)
    return labels.astype(np.str_)


def _folds(features: Any, labels: Any, task: Task, timed: bool, seed: int) -> tuple[tuple[tuple[Any, Any], ...], str]:
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    if timed:
        return tuple(
            TimeSeriesSplit(FOLDS).split(features)
        ), f"{FOLDS} blocks of time, each after what it was fitted on"
    if task == "regression":
        shuffled = KFold(FOLDS, shuffle=True, random_state=seed)
        return tuple(shuffled.split(features)), f"{FOLDS} random folds, seed {seed}"
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.min() < FOLDS:
        rare = f"{names[counts.argmin()]!s} comes {counts.min()} times" if len(names) > 1 else "there is one label"
        raise BadInput(Code.REQUEST_INVALID, f"{rare}: each of two labels or more must come {FOLDS} times")
    stratified = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return tuple(stratified.split(features, labels)), f"{FOLDS} stratified folds, seed {seed}"
