"""Classification by a Gaussian process: Laplace's approximation, for two classes or one against the rest.

Decides that everything that does not depend on the row is computed here, in float64. Source: scikit-learn's
GaussianProcessClassifier, after Rasmussen and Williams, algorithm 3.2.
"""

from typing import Any

import numpy as np
from sklearn.gaussian_process._gpc import COEFS, LAMBDAS

from controller.convert.own.curves import error_function
from controller.convert.own.graph import Graph
from controller.convert.own.kernels import process_kernel
from controller.convert.own.votes import fractions


def process_classes(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """GaussianProcessClassifier."""
    rows, base = graph.numbers(given), model.base_estimator_
    if hasattr(base, "pi_"):
        mean, positive = _positive(graph, rows, base)
        at = graph.cast(graph.node("Reshape", graph.node("Greater", mean, 0.0), np.array([-1])), 7)
        both = graph.node("Concat", graph.node("Sub", 1.0, positive), positive, axis=1)
        return [graph.labels(at, model.classes_), both]
    if type(base).__name__ != "OneVsRestClassifier":
        raise NotImplementedError("GaussianProcessClassifier is converted with multi_class='one_vs_rest' alone")
    each = graph.node("Concat", *[_positive(graph, rows, inner)[1] for inner in base.estimators_], axis=1)
    return fractions(graph, each, each, model.classes_)


def _positive(graph: Graph, rows: str, model: Any) -> tuple[str, str]:
    """(the latent mean, the probability of the positive class): (rows, 1) each."""
    points, used = np.asarray(model.X_train_, dtype=float), model.kernel_
    diagonal = used.diag(np.vstack([points[:2], points[:2] + 1.0]))
    if not np.allclose(diagonal, diagonal[0]):
        raise NotImplementedError("the kernel of a GaussianProcessClassifier must be the same for each row with itself")
    similar = process_kernel(graph, rows, points, used)
    mean = graph.node("MatMul", similar, (model.y_train_ - model.pi_)[:, None].astype(float))
    explained = graph.node("MatMul", similar, np.linalg.solve(model.L_, np.diag(model.W_sr_)).T)
    explained = graph.reduce("ReduceSumSquare", explained)
    variance = graph.node("Sub", float(diagonal[0]), explained)
    return mean, _squashed(graph, mean, variance)


def _squashed(graph: Graph, mean: str, variance: str) -> str:
    """The logistic function averaged over the latent variable, approximated by five error functions."""
    alpha = graph.node("Div", 0.5, variance)
    lambdas, parts = LAMBDAS.ravel()[None], COEFS.ravel()
    root = graph.node("Sqrt", graph.node("Div", alpha, graph.node("Add", alpha, lambdas**2)))
    errors = error_function(graph, graph.node("Mul", graph.node("Mul", mean, lambdas), root))
    return graph.node(
        "Add", graph.node("Mul", graph.node("MatMul", errors, parts[:, None]), 0.5), 0.5 * float(parts.sum())
    )
