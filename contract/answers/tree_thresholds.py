"""The thresholds of the trees in an estimator, by column, so that rows can be placed at them.

Decides how thresholds are found: from trees that see the columns themselves, or columns that earlier steps can convert
back, as scalers can. Refuses to know scikit-learn: a tree is any object with such arrays. Where no threshold is found,
the midpoints of the sample are used.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from contract.tensors import Array

MAX_THRESHOLDS = 2_000
"""The most thresholds of one column that are kept: rows are drawn from them."""
MAX_TREES = 200
"""The most trees that are read; the trees of one ensemble resemble each other."""


def thresholds_of(estimator: Any, columns: int) -> dict[int, Array]:
    """Returns the thresholds by position of the column, float64; {} if they cannot be found."""
    steps = _steps(estimator)
    found = _of_trees(steps[-1], columns)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for step in reversed(steps[:-1]):
                found = _before(step, found, columns)
    except Exception:
        return {}
    return found


def _steps(estimator: Any) -> list[Any]:
    """Returns the steps of an estimator, also of pipelines within pipelines; of a wrapper those of the estimator that
    answers.
    """
    if hasattr(estimator, "steps"):
        return [inner for _, step in estimator.steps for inner in _steps(step)]
    if hasattr(estimator, "estimators_") or hasattr(estimator, "support_"):
        return [estimator]  # this step answers by itself, or changes the order of columns
    inner = next((getattr(estimator, name) for name in _ANSWERS if hasattr(estimator, name)), None)
    return [estimator] if inner is None else _steps(inner)


_ANSWERS = ("best_estimator_", "estimator_", "regressor_")
"""Attributes of a wrapper that hold the fitted estimator that answers."""


def _of_trees(estimator: Any, columns: int) -> dict[int, Array]:
    features, thresholds = [np.zeros(0, np.int64)], [np.zeros(0)]
    for number, (feature, threshold) in enumerate(_splits(estimator)):
        if number == MAX_TREES:
            break
        features.append(feature)
        thresholds.append(threshold)
    feature, threshold = np.concatenate(features), np.concatenate(thresholds)
    if feature.size and feature.max() >= columns:
        return {}
    return {
        position: _thinned(np.unique(threshold[(feature == position) & np.isfinite(threshold)]))
        for position in range(columns)
        if (feature == position).any()
    }


def _splits(estimator: Any) -> Iterator[tuple[Array, Array]]:
    """Yields (column, threshold) of each inner node, tree by tree."""
    tree: Any = getattr(estimator, "tree_", None)
    if hasattr(tree, "threshold"):
        inner = tree.children_left != tree.children_right
        yield tree.feature[inner], tree.threshold[inner]
        return
    places = _places(estimator)
    for predictors in getattr(estimator, "_predictors", None) or ():
        for predictor in predictors:
            nodes = predictor.nodes
            inner = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)
            feature = nodes["feature_idx"][inner].astype(np.int64)
            yield feature if places is None else places[feature], nodes["num_threshold"][inner]
    for calibrated in getattr(estimator, "calibrated_classifiers_", ()):
        yield from _splits(calibrated.estimator)
    if hasattr(estimator, "estimators_features_"):
        return  # each tree numbers the columns differently
    for inner_estimator in np.ravel(np.asarray(getattr(estimator, "estimators_", ()), dtype=object)):
        if inner_estimator is not None:
            yield from _splits(inner_estimator)


def _places(estimator: Any) -> Array | None:
    """Returns the position of each column that histogram trees see: they put columns of categories before
    all others.
    """
    categorical: Any = getattr(estimator, "is_categorical_", None)
    if categorical is None or getattr(estimator, "_preprocessor", None) is None:
        return None
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~np.asarray(categorical))])


def _before(step: Any, thresholds: dict[int, Array], columns: int) -> dict[int, Array]:
    """Returns the thresholds before a step that changes each column by itself."""
    if step in (None, "passthrough"):
        return thresholds
    length = max((len(at) for at in thresholds.values()), default=0)
    if not length:
        return {}
    matrix = np.zeros((length, columns))
    for position, at in thresholds.items():
        matrix[: len(at), position] = at
    turned = np.asarray(step.inverse_transform(matrix))
    if turned.shape != matrix.shape:
        return {}
    return {position: turned[: len(at), position] for position, at in thresholds.items()}


def _thinned(values: Array) -> Array:
    step = -(-len(values) // MAX_THRESHOLDS)
    return values[::step] if step else values
