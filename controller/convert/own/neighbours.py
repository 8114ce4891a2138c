"""Estimators that use the training rows within a radius, or the nearest ones by distance or by paths.

Decides that distances are Euclidean, those of weighted nearest rows also sums of absolute differences: other metrics
are refused by name.
"""

from typing import Any

import numpy as np

from contract.tensors import Array
from controller.convert.own.graph import Graph


def _refuse_metric(model: Any) -> None:
    metric, power = getattr(model, "effective_metric_", "euclidean"), getattr(model, "p", 2)
    if metric != "euclidean" and not (metric == "minkowski" and power == 2):
        raise NotImplementedError(f"{type(model).__name__} is converted with Euclidean distances alone")


def _within(graph: Graph, model: Any, given: list[Any]) -> tuple[str, str]:
    """Returns (weights of the training rows, distances): (rows, points) each; a weight of 0: the row is too far
    away.
    """
    _refuse_metric(model)
    away = graph.distances(graph.numbers(given), _points(model))
    near = graph.node("LessOrEqual", away, float(model.radius))
    if callable(getattr(model, "weights", None)):
        raise NotImplementedError("weights that are a function are not converted")
    if getattr(model, "weights", "uniform") == "uniform":
        return graph.cast(near, graph.kind), away
    same = graph.node("Equal", away, 0.0)
    any_same = graph.reduce("ReduceMax", graph.cast(same, graph.kind))
    inverse = graph.node("Div", 1.0, graph.node("Where", same, 1.0, away))
    alone = graph.node("Where", graph.node("Greater", any_same, 0.0), graph.cast(same, graph.kind), inverse)
    return graph.node("Where", near, alone, 0.0), away


def _points(model: Any) -> Array:
    return np.asarray(model._fit_X, dtype=np.float64)


def mean_within(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RadiusNeighborsRegressor: the weighted mean; NaN if no training row is near."""
    weights, _ = _within(graph, model, given)
    targets = np.asarray(model._y, dtype=float).reshape(len(model._y), -1)
    total = graph.node("MatMul", weights, targets)
    return [graph.node("Div", total, graph.reduce("ReduceSum", weights))]


def votes_within(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RadiusNeighborsClassifier: the fractions of the votes; its outlier label if no training row is near."""
    if model.outputs_2d_:
        raise NotImplementedError("multi-output is not converted")
    weights, _ = _within(graph, model, given)
    votes = graph.node("MatMul", weights, np.eye(len(model.classes_))[model._y])
    total = graph.reduce("ReduceSum", votes)
    none = graph.node("Equal", total, 0.0)
    outlier = np.ravel(model.outlier_label_)[0] if model.outlier_label_ is not None else None
    fraction = (
        (model.classes_ == outlier).astype(float) if outlier is not None else np.full(len(model.classes_), np.nan)
    )
    fractions = graph.node("Where", none, fraction, graph.node("Div", votes, graph.node("Where", none, 1.0, total)))
    return [graph.labels(graph.first_of_most(fractions), model.classes_), fractions]


def distances_within(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RadiusNeighborsTransformer: distances, or 1, to the training rows that are near; 0 for the others."""
    weights, away = _within(graph, model, given)
    return [weights if model.mode == "connectivity" else graph.node("Mul", weights, away)]


def points_kept(model: Any) -> int:
    """The number of training rows."""
    return len(_points(model))


def isomap(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Isomap: the shortest paths over the nearest training rows, in the embedding of their kernel."""
    if model.n_neighbors is None:
        raise NotImplementedError("Isomap is converted with n_neighbors alone, not with a radius")
    _refuse_metric(model.nbrs_)
    away = graph.distances(graph.numbers(given), np.asarray(model.nbrs_._fit_X, dtype=float))
    near, at = graph.both("TopK", away, np.array([model.n_neighbors]), axis=1, largest=0, sorted=1)
    paths = graph.node("Gather", np.asarray(model.dist_matrix_, dtype=float), at, axis=0)
    paths = graph.node("Add", paths, graph.node("Unsqueeze", near, np.array([2])))
    shortest = graph.reduce("ReduceMin", paths, keep=False)
    similar = graph.node("Mul", graph.node("Mul", shortest, shortest), -0.5)
    return [_kernel_pca(graph, similar, model.kernel_pca_)]


def _kernel_pca(graph: Graph, similar: str, pca: Any) -> str:
    """The projection of rows of a precomputed kernel."""
    centred = graph.node("Sub", similar, graph.reduce("ReduceMean", similar))
    centred = graph.node("Add", graph.node("Sub", centred, pca._centerer.K_fit_rows_), float(pca._centerer.K_fit_all_))
    positive = pca.eigenvalues_ > 0
    scaled = np.zeros_like(pca.eigenvectors_)
    scaled[:, positive] = pca.eigenvectors_[:, positive] / np.sqrt(pca.eigenvalues_[positive])
    return graph.node("MatMul", centred, scaled)


def takes_weighted(model: Any, inputs: list[Any]) -> bool:
    """Whether it weights its nearest neighbours by distance, which skl2onnx ignores."""
    del inputs
    return bool(model.weights == "distance")


def _nearest(graph: Graph, model: Any, given: list[Any], known: Array) -> tuple[str, str]:
    """Returns (weights, values of `known`) of the nearest training rows: (rows, k, 1) and (rows, k, columns).

    For a row that equals a training row, the weight of that one is 1, and of all others 0.
    """
    rows, points = graph.numbers(given), _points(model)
    if model.effective_metric_ == "manhattan":
        away = graph.reduce("ReduceSum", graph.node("Abs", graph.differences(rows, points)), 2, keep=False)
    else:
        _refuse_metric(model)
        away = graph.distances(rows, points)
    near, at = graph.both("TopK", away, np.array([model.n_neighbors]), axis=1, largest=0, sorted=1)
    same = graph.node("Equal", near, 0.0)
    here = graph.cast(same, graph.kind)
    inverse = graph.node("Div", 1.0, graph.node("Where", same, 1.0, near))
    weights = graph.node("Where", graph.node("Greater", graph.reduce("ReduceMax", here), 0.0), here, inverse)
    return graph.node("Unsqueeze", weights, np.array([2])), graph.node("Gather", known, at, axis=0)


def _weighted_mean(graph: Graph, weights: str, values: str) -> str:
    total = graph.reduce("ReduceSum", graph.node("Mul", weights, values), keep=False)
    return graph.node("Div", total, graph.reduce("ReduceSum", weights, keep=False))


def weighted_mean(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """KNeighborsRegressor with weights="distance": the mean weighted by 1 / distance."""
    targets = np.asarray(model._y, dtype=float).reshape(len(model._y), -1)
    return [_weighted_mean(graph, *_nearest(graph, model, given, targets))]


def weighted_votes(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """KNeighborsClassifier with weights="distance": the fractions of the votes weighted by 1 / distance."""
    if model.outputs_2d_:
        raise NotImplementedError("multi-output is not converted")
    votes = np.eye(len(model.classes_))[np.asarray(model._y)]
    fractions = _weighted_mean(graph, *_nearest(graph, model, given, votes))
    return [graph.labels(graph.first_of_most(fractions), model.classes_), fractions]
