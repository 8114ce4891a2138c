"""Estimators that compare a row with centres: clusters, centroids of classes, and a tree of clusters.

Decides that the first of equally near centres is used, as in scikit-learn. Refuses to know how centres were found.
"""

from typing import Any

import numpy as np

from controller.convert.own.graph import Graph


def nearest_centre(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """AffinityPropagation and MeanShift: the number of the nearest centre."""
    squared = graph.squared_distances(graph.numbers(given), model.cluster_centers_)
    return [graph.first_of_least(squared), graph.node("Sqrt", squared)]


def nearest_subcluster(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Birch: the label of the nearest subcluster, and the distances to all."""
    squared = graph.squared_distances(graph.numbers(given), model.subcluster_centers_)
    return [graph.labels(graph.first_of_least(squared), model.subcluster_labels_), graph.node("Sqrt", squared)]


def bisected(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """BisectingKMeans: at each node of its tree the nearer of two centres, down to a cluster."""
    rows = graph.numbers(given)
    found = _down(graph, rows, model._bisecting_tree, np.asarray(getattr(model, "_X_mean", 0.0)))
    zero = graph.node("Mul", graph.first_of_least(rows), np.array(0))  # a tree of one leaf has no other rows to count
    return [graph.node("Add", found, zero), graph.distances(rows, model.cluster_centers_)]


def _down(graph: Graph, rows: str, node: Any, mean: Any) -> str:
    if node.left is None:
        return graph.constant(np.array([node.label]))
    centres = np.vstack([node.left.center, node.right.center]) + mean
    right = graph.node("Cast", graph.first_of_least(graph.squared_distances(rows, centres)), to=9)
    return graph.node("Where", right, _down(graph, rows, node.right, mean), _down(graph, rows, node.left, mean))


def nearest_centroid(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """NearestCentroid: the class of the nearest centroid, and the scores from which its probabilities are computed."""
    rows, priors = graph.numbers(given), model.class_prior_
    spread = np.where(model.within_class_std_dev_ != 0, model.within_class_std_dev_, 1.0)
    scaled = graph.node("Div", rows, spread)
    squared = graph.squared_distances(scaled, model.centroids_ / spread)
    scores = graph.node("Sub", 2.0 * np.log(priors), squared)
    equal = np.isclose(priors, 1 / len(priors)).all()
    metric = model.metric if equal else "euclidean"
    if metric == "manhattan":
        away = graph.node("Abs", graph.differences(rows, model.centroids_))
        at = graph.first_of_least(graph.reduce("ReduceSum", away, 2, keep=False))
    else:
        plain = graph.squared_distances(rows, model.centroids_)
        at = graph.first_of_least(plain) if equal else graph.first_of_most(scores)
    return [graph.labels(at, model.classes_), graph.node("Softmax", scores, axis=1)]


def centres_kept(model: Any) -> int:
    """Returns the number of centres."""
    return len(model.cluster_centers_)


def inside_envelope(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """EllipticEnvelope: 1 inside, -1 outside, and the margin."""
    away = graph.node("Sub", graph.numbers(given), model.location_)
    product = graph.node("Mul", graph.node("MatMul", away, model.get_precision()), away)
    margin = graph.node("Sub", -float(model.offset_), graph.reduce("ReduceSum", product))
    inside = graph.node("Cast", graph.node("GreaterOrEqual", margin, 0.0), to=7)
    label = graph.node("Sub", graph.node("Mul", inside, np.array(2)), np.array(1))
    return [graph.node("Reshape", label, np.array([-1])), margin]
