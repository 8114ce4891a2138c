"""Kernels between rows and fixed points, and the estimators that multiply one by learned numbers.

Decides which kernels are converted: those of `pairwise_kernels` that are sums and products, and the usual ones of
Gaussian processes.
"""

from typing import Any

import numpy as np

from controller.convert.own.graph import Graph


def kernel(graph: Graph, rows: str, points: Any, name: str, settings: dict[str, Any]) -> str:
    """Returns (rows, points) of one of `pairwise_kernels`. NotImplementedError names the others."""
    points = np.asarray(points, dtype=np.float64)
    gamma = settings.get("gamma")
    gamma = 1.0 / points.shape[1] if gamma is None else float(gamma)
    if name == "rbf":
        return graph.node("Exp", graph.node("Mul", graph.squared_distances(rows, points), -gamma))
    if name == "laplacian":
        away = graph.reduce("ReduceSum", graph.node("Abs", graph.differences(rows, points)), 2, keep=False)
        return graph.node("Exp", graph.node("Mul", away, -gamma))
    if name == "linear":
        return graph.node("MatMul", rows, points.T)
    if name in ("poly", "polynomial", "sigmoid"):
        coef0 = settings.get("coef0")
        total = graph.affine(rows, gamma * points.T, 1.0 if coef0 is None else float(coef0))
        degree = settings.get("degree")
        return (
            graph.node("Tanh", total)
            if name == "sigmoid"
            else graph.node("Pow", total, float(3 if degree is None else degree))
        )
    if name == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        unit = points / np.where(lengths == 0, 1.0, lengths)
        return graph.node("MatMul", _of_unit_length(graph, rows), unit.T)
    raise NotImplementedError(f"the kernel {name!r:.40} is not converted")


def _of_unit_length(graph: Graph, rows: str) -> str:
    length = graph.node("Sqrt", graph.reduce("ReduceSumSquare", rows))
    return graph.node("Div", rows, graph.node("Where", graph.node("Equal", length, 0.0), 1.0, length))


def _settings(model: Any) -> dict[str, Any]:
    return {**(model.kernel_params or {}), "gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}


def kernel_ridge(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """KernelRidge: the kernel with the training rows, times the dual coefficients."""
    found = kernel(graph, graph.numbers(given), model.X_fit_, model.kernel, _settings(model))
    return [graph.node("MatMul", found, model.dual_coef_.reshape(len(model.X_fit_), -1))]


def nystroem(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Nystroem: the kernel with some training rows, normalised."""
    found = kernel(graph, graph.numbers(given), model.components_, model.kernel, _settings(model))
    return [graph.node("MatMul", found, model.normalization_.T)]


def spread_labels(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """LabelPropagation and LabelSpreading: the labels of the training rows, weighted by nearness."""
    rows = graph.numbers(given)
    if model.kernel == "rbf":
        weights = kernel(graph, rows, model.X_, "rbf", {"gamma": model.gamma})
    elif model.kernel == "knn":
        away = graph.squared_distances(rows, model.X_)
        _, at = graph.both("TopK", away, np.array([model.n_neighbors]), axis=1, largest=0, sorted=1)
        votes = graph.node("Gather", model.label_distributions_, at, axis=0)
        return _fractions(graph, model, graph.reduce("ReduceSum", votes, keep=False))
    else:
        raise NotImplementedError("a kernel that is a function of one's own is not converted")
    return _fractions(graph, model, graph.node("MatMul", weights, model.label_distributions_))


def _fractions(graph: Graph, model: Any, votes: str) -> list[str]:
    fractions = graph.node("Div", votes, graph.reduce("ReduceSum", votes))
    return [graph.labels(graph.first_of_most(fractions), model.classes_), fractions]


def process_kernel(graph: Graph, rows: str, points: Any, used: Any) -> str:
    """Returns (rows, points) of a kernel of Gaussian processes. NotImplementedError names the others."""
    name = type(used).__name__
    if name in ("Sum", "Product"):
        parts = [process_kernel(graph, rows, points, part) for part in (used.k1, used.k2)]
        return graph.node("Add" if name == "Sum" else "Mul", *parts)
    if name == "Exponentiation":
        return graph.node("Pow", process_kernel(graph, rows, points, used.kernel), float(used.exponent))
    if name in ("ConstantKernel", "WhiteKernel"):
        value = used.constant_value if name == "ConstantKernel" else 0.0
        return graph.node("Add", graph.node("Mul", graph.node("MatMul", rows, points.T), 0.0), float(value))
    if name == "DotProduct":
        return graph.affine(rows, points.T, float(used.sigma_0) ** 2)
    if name in ("RBF", "Matern", "RationalQuadratic"):
        return _of_distance(graph, rows, points, used)
    raise NotImplementedError(f"the kernel {name} is not converted")


def _of_distance(graph: Graph, rows: str, points: Any, used: Any) -> str:
    scale = np.asarray(used.length_scale, dtype=float)
    squared = graph.squared_distances(graph.node("Div", rows, scale), points / scale)
    if type(used).__name__ == "RationalQuadratic":
        grown = graph.node("Add", graph.node("Div", squared, 2.0 * used.alpha), 1.0)
        return graph.node("Pow", grown, -float(used.alpha))
    roughness = getattr(used, "nu", np.inf)  # an RBF is the smoothest of Matern's kernels
    if roughness == np.inf:
        return graph.node("Exp", graph.node("Mul", squared, -0.5))
    if roughness not in (0.5, 1.5, 2.5):
        raise NotImplementedError("Matern is converted with nu of 0.5, 1.5, 2.5 and infinity")
    away = graph.node("Mul", graph.node("Sqrt", squared), float(np.sqrt(2 * roughness)))
    faded = graph.node("Exp", graph.node("Neg", away))
    if roughness == 0.5:
        return faded
    grown = graph.node("Add", away, 1.0)
    if roughness == 2.5:
        grown = graph.node("Add", grown, graph.node("Div", graph.node("Mul", away, away), 3.0))
    return graph.node("Mul", grown, faded)
