"""Curves in pieces: splines, steps of an isotonic regression, and the error function, as polynomials over intervals.

Decides that a piece is found by the number of breaks at or below a number. Outside the fitted range, an estimator that
would raise an error answers NaN.
"""

from itertools import pairwise
from math import factorial
from typing import Any

import numpy as np
from scipy.special import erf

from contract.tensors import Array
from controller.convert.own.graph import Graph

ERROR_FUNCTION_ENDS = 6.0
"""For larger numbers the error function is 1 in float64."""
ERROR_FUNCTION_PIECES, ERROR_FUNCTION_DEGREE = 48, 9
"""Polynomials that agree with the error function to 1e-15: onnxruntime has it for float32 only."""


def pieces(graph: Graph, column: str, breaks: Array, tables: Array) -> str:
    """Values of piecewise polynomials at a column (rows, 1): (rows, curves).

    `breaks`: the ends of the intervals (intervals + 1,). `tables`: coefficients (degree + 1, intervals, curves) of the
    powers of the distance from an interval's left end, the lowest power first.
    """
    passed = graph.cast(graph.node("GreaterOrEqual", column, breaks[1:-1][None]), 7)
    at = graph.reduce("ReduceSum", passed, keep=False)
    if len(breaks) == 2:
        at = graph.node("Mul", graph.first_of_least(column), np.array(0))
    left = graph.node("Gather", breaks[:-1, None], at, axis=0)
    away = graph.node("Sub", column, left)
    total = graph.node("Gather", tables[-1], at, axis=0)
    for table in tables[-2::-1]:
        total = graph.node("Add", graph.node("Mul", total, away), graph.node("Gather", table, at, axis=0))
    return total


def error_function(graph: Graph, given: str) -> str:
    """erf of a matrix, to 1e-15 in float64. It is computed as an odd function, so that tiny numbers of both signs stay
    tiny.
    """
    breaks = np.linspace(0.0, ERROR_FUNCTION_ENDS, ERROR_FUNCTION_PIECES + 1)
    tables = np.stack([_fitted(left, right) for left, right in pairwise(breaks)], axis=1)
    tables[0, 0] = 0.0
    column = graph.node("Reshape", given, np.array([-1, 1]))
    size = graph.node("Min", graph.node("Abs", column), ERROR_FUNCTION_ENDS)
    found = graph.node("Mul", graph.node("Sign", column), pieces(graph, size, breaks, tables[:, :, None]))
    return graph.node("Reshape", found, graph.node("Shape", given))


def _fitted(left: float, right: float) -> Array:
    """Coefficients of the powers of the distance from `left`."""
    fitted = np.polynomial.Chebyshev.interpolate(erf, ERROR_FUNCTION_DEGREE, domain=[left, right])
    powers = range(ERROR_FUNCTION_DEGREE + 1)
    return np.array([fitted.deriv(power)(left) / factorial(power) for power in powers])


def interpolated(graph: Graph, column: str, x: Array, y: Array) -> str:
    """Linear interpolation at a column (rows, 1); outside, the values of the ends."""
    x, first = np.unique(np.asarray(x, dtype=float), return_index=True)
    last = np.append(first[1:] - 1, len(y) - 1)
    if len(x) == 1:
        return graph.node("Add", graph.node("Mul", column, 0.0), float(y[0]))
    starts, ends = np.asarray(y, dtype=float)[last[:-1]], np.asarray(y, dtype=float)[first[1:]]
    tables = np.stack([starts, (ends - starts) / np.diff(x)])[:, :, None]
    return pieces(graph, graph.node("Clip", column, float(x[0]), float(x[-1])), x, tables)


def isotonic(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """IsotonicRegression: linear interpolation between its thresholds."""
    column = graph.numbers(given)
    found = interpolated(graph, column, model.X_thresholds_, model.y_thresholds_)
    if model.out_of_bounds != "clip":
        found = _only_inside(graph, column, found, float(model.X_min_), float(model.X_max_))
    return [found]


def _only_inside(graph: Graph, column: str, found: str, low: float, high: float) -> str:
    """Returns NaN where the column is outside."""
    inside = graph.node("And", graph.node("GreaterOrEqual", column, low), graph.node("LessOrEqual", column, high))
    return graph.node("Where", inside, found, np.array(np.nan))


def splines(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """SplineTransformer: the splines of each column."""
    columns = zip(graph.columns(given), model.bsplines_, strict=True)
    made = [_splines_of(graph, model, column, spline) for column, spline in columns]
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]


def splines_kept(model: Any) -> int:
    """The number of columns that a SplineTransformer answers."""
    return int(model.n_features_out_)


def _splines_of(graph: Graph, model: Any, column: str, spline: Any) -> str:
    knots, degree = np.asarray(spline.t, dtype=float), int(spline.k)
    breaks = np.unique(knots[degree : len(knots) - degree])
    low, high = float(breaks[0]), float(breaks[-1])
    kept = spline.c.shape[1] - (0 if model.include_bias else 1)
    powers = [np.asarray(spline(breaks[:-1], nu=power)) / factorial(power) for power in range(degree + 1)]
    tables = np.stack(powers)[:, :, :kept]
    known = graph.node("Where", graph.node("IsNaN", column), low, column)
    used = known
    if model.extrapolation in ("constant", "linear"):
        used = graph.node("Clip", known, low, high)
    elif model.extrapolation == "periodic":
        turns = graph.node("Floor", graph.node("Div", graph.node("Sub", known, low), high - low))
        used = graph.node("Sub", known, graph.node("Mul", turns, high - low))
    found = pieces(graph, used, breaks, tables)
    if model.extrapolation == "linear":
        found = _continued(graph, (known, found), (low, high), [spline(end, nu=1)[:kept] for end in (low, high)])
    elif model.extrapolation == "error":
        found = _only_inside(graph, column, found, low, high)
    return graph.node("Where", graph.node("IsNaN", column), 0.0, found)


def _continued(graph: Graph, at: tuple[str, str], ends: tuple[float, float], slopes: list[Any]) -> str:
    """Returns splines that continue as straight lines beyond both ends."""
    column, found = at
    below = graph.node("Min", graph.node("Sub", column, ends[0]), 0.0)
    above = graph.node("Max", graph.node("Sub", column, ends[1]), 0.0)
    for away, slope in ((below, slopes[0]), (above, slopes[1])):
        found = graph.node("Add", found, graph.node("Mul", away, np.asarray(slope, dtype=float)[None]))
    return found
