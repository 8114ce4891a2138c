"""Estimators whose answer is one affine map, or a function of one: projections, factors, sparse components,
restricted Boltzmann machines, and random features.

Decides that the map is computed here, in float64. Refuses to know distances and kernels.
"""

from typing import Any

import numpy as np

from controller.convert.own.graph import Graph


def factors(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """FactorAnalysis: the mean of the latent variables."""
    weighted = model.components_ / model.noise_variance_
    covariance = np.linalg.inv(np.eye(len(model.components_)) + weighted @ model.components_.T)
    return [_centred(graph, given, model.mean_, weighted.T @ covariance)]


def independent(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """FastICA: components_ apply to centred rows if the estimator whitens."""
    mean = model.mean_ if model.whiten else np.zeros(model.n_features_in_)
    return [_centred(graph, given, mean, model.components_.T)]


def sparse_components(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """SparsePCA: a ridge regression of the centred row on the components."""
    parts = model.components_
    solved = np.linalg.solve(parts @ parts.T + model.ridge_alpha * np.eye(len(parts)), parts)
    return [_centred(graph, given, model.mean_, solved.T)]


def agglomerated(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """FeatureAgglomeration with the mean of each group of columns."""
    if model.pooling_func is not np.mean:
        raise NotImplementedError("FeatureAgglomeration is converted with pooling_func=numpy.mean alone")
    groups = np.unique(model.labels_)
    weights = np.stack([(model.labels_ == group) / (model.labels_ == group).sum() for group in groups], axis=1)
    return [graph.node("MatMul", graph.numbers(given), weights)]


def hidden_units(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """BernoulliRBM: the probability of each hidden unit."""
    return [graph.node("Sigmoid", graph.affine(graph.numbers(given), model.components_.T, model.intercept_hidden_))]


def least_squares(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """CCA and PLSCanonical: an affine prediction."""
    offset = np.ravel(model.intercept_) - model._x_mean @ model.coef_.T
    return [graph.affine(graph.numbers(given), model.coef_.T, offset)]


def covariance_scores(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """PLSSVD: the scores of scaled rows."""
    return [_centred(graph, given, model._x_mean, model.x_weights_ / model._x_std[:, None])]


def fourier_features(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RBFSampler: scaled cosines of a random projection."""
    return [_cosines(graph, graph.numbers(given), model)]


def skewed_features(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """SkewedChi2Sampler: scaled cosines of a random projection of logarithms."""
    logarithms = graph.node("Log", graph.node("Add", graph.numbers(given), float(model.skewedness)))
    return [_cosines(graph, logarithms, model)]


def additive_features(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """AdditiveChi2Sampler: a sampled Fourier series for each column; zero stays zero."""
    rows = graph.numbers(given)
    interval = model.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[model.sample_steps]
    there = graph.node("Greater", rows, 0.0)
    logarithms = graph.node("Log", graph.node("Where", there, rows, 1.0))
    parts = [graph.node("Sqrt", graph.node("Mul", rows, interval))]
    for step in range(1, model.sample_steps):
        factor = 2.0 * interval / np.cosh(np.pi * step * interval)
        size = graph.node("Sqrt", graph.node("Mul", rows, factor))
        angle = graph.node("Mul", logarithms, step * interval)
        waves = [graph.node("Mul", size, graph.node(wave, angle)) for wave in ("Cos", "Sin")]
        parts += [graph.node("Where", there, wave, 0.0) for wave in waves]
    return [graph.node("Concat", *parts, axis=1)]


def polynomial_sketch(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """PolynomialCountSketch: the product of Fourier transforms of hashed sums; transforms are matrices here."""
    rows, count = graph.numbers(given), model.n_components
    scaled = graph.node("Mul", rows, float(np.sqrt(model.gamma)))
    if model.coef0 != 0:
        scaled = graph.node("Concat", scaled, graph.rows_of(rows, [float(np.sqrt(model.coef0))]), axis=1)
    real = imaginary = ""
    for number in range(model.degree):
        hashed = np.zeros((model.indexHash_.shape[1], count))
        hashed[np.arange(len(hashed)), model.indexHash_[number]] = model.bitHash_[number]
        waves = np.fft.fft(hashed, axis=1)
        one, other = (graph.node("MatMul", scaled, part) for part in (waves.real, waves.imag))
        real, imaginary = (one, other) if not real else _product(graph, (real, imaginary), (one, other))
    back = np.fft.ifft(np.eye(count), axis=1)
    parts = graph.node("MatMul", real, back.real), graph.node("MatMul", imaginary, back.imag)
    return [graph.node("Sub", *parts)]


def _product(graph: Graph, one: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    """The product of two complex numbers, each (real, imaginary)."""
    real = graph.node("Sub", graph.node("Mul", one[0], other[0]), graph.node("Mul", one[1], other[1]))
    return real, graph.node("Add", graph.node("Mul", one[0], other[1]), graph.node("Mul", one[1], other[0]))


def _cosines(graph: Graph, rows: str, model: Any) -> str:
    waves = graph.node("Cos", graph.affine(rows, model.random_weights_, model.random_offset_))
    return graph.node("Mul", waves, float(np.sqrt(2.0 / model.n_components)))


def _centred(graph: Graph, given: list[Any], mean: Any, weights: Any) -> str:
    return graph.node("MatMul", graph.node("Sub", graph.numbers(given), np.asarray(mean, dtype=float)), weights)
