"""Estimators that keep some columns, or mark missing cells in some.

Decides the columns by the fitted selection. An empty selection is refused: a device would send rows for an empty
answer.
"""

from typing import Any

import numpy as np

from controller.convert.own.graph import Graph


def kept_columns(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Returns the selected columns."""
    kept = np.flatnonzero(model.get_support())
    if not len(kept):
        raise ValueError(f"{type(model).__name__} selects no column of its training data")
    return [graph.take(graph.numbers(given), kept)]


def missing_marks(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """MissingIndicator: 1 where a number is missing."""
    if not (isinstance(model.missing_values, float) and np.isnan(model.missing_values)):
        raise NotImplementedError("MissingIndicator is converted with missing_values=nan alone")
    if not len(model.features_):
        raise ValueError("MissingIndicator selects no column of its training data")
    return [graph.whole(graph.node("IsNaN", graph.take(graph.numbers(given), model.features_)))]


def marks_kept(model: Any) -> int:
    """The number of columns that a MissingIndicator marks."""
    return len(model.features_)


def support_kept(model: Any) -> int:
    """Returns the number of selected columns."""
    return int(model.get_support().sum())


def constant_class(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """DummyClassifier: the same class and probabilities for every row."""
    if model.strategy in ("stratified", "uniform"):
        raise ValueError(f"DummyClassifier(strategy={model.strategy!r}) answers by chance")
    rows, prior = graph.numbers(given), np.asarray(model.class_prior_, dtype=float)
    if model.strategy == "constant":
        prior = (model.classes_ == np.ravel(model.constant)[0]).astype(float)
    at = int(np.argmax(prior))
    certain = prior if model.strategy == "prior" else np.eye(len(prior))[at]
    return [
        graph.labels(graph.first_of_most(graph.rows_of(rows, np.eye(len(prior))[at])), model.classes_),
        graph.rows_of(rows, certain),
    ]


def constant_number(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """DummyRegressor: the same numbers for every row."""
    return [graph.rows_of(graph.numbers(given), np.ravel(model.constant_).astype(float))]
