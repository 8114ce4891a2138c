"""Imputers of real numbers: with one number for each column, and by regressions of a column on the others.

Decides which of their parameters are covered; for others skl2onnx's own converter of SimpleImputer is used.
"""

from typing import Any

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from controller.convert.own.graph import Graph

MAX_REGRESSIONS = 500
"""The most regressions of an IterativeImputer: each is eight nodes, and a device accepts at most 50,000 nodes."""


def takes_simple(model: Any, given: list[Any]) -> bool:
    """Whether a SimpleImputer is of real numbers only: onnxruntime has its operator for float32 only."""
    real = len(given) == 1 and isinstance(given[0].type, (FloatTensorType, DoubleTensorType))
    plain = real and _is_nan(model.missing_values) and not model.add_indicator
    return bool(plain and model.statistics_.dtype.kind == "f" and not np.isnan(model.statistics_).any())


def simple(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """SimpleImputer."""
    rows = given[0].full_name
    return [graph.node("Where", graph.node("IsNaN", rows), graph.constant(model.statistics_[None], "fill"), rows)]


def iterative(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """IterativeImputer with linear regressions: each in its turn fills one column from the others."""
    start, steps = model.initial_imputer_.statistics_, model.imputation_sequence_
    _refuse_uncovered(model)
    columns = graph.columns(given)
    lacks = [graph.node("IsNaN", column) for column in columns]
    filled = [
        graph.node("Where", lack, float(fill), column) for lack, fill, column in zip(lacks, start, columns, strict=True)
    ]
    for step in steps:
        at, inner = step.feat_idx, step.estimator
        others = graph.node("Concat", *[filled[number] for number in step.neighbor_feat_idx], axis=1)
        found = graph.affine(others, np.ravel(inner.coef_)[:, None], float(np.ravel(inner.intercept_)[0]))
        low, high = float(model._min_value[at]), float(model._max_value[at])
        found = graph.node("Min", graph.node("Max", found, low), high)
        filled[at] = graph.node("Where", lacks[at], found, filled[at])
    return [graph.node("Concat", *filled, axis=1)]


def _refuse_uncovered(model: Any) -> None:
    steps = model.imputation_sequence_
    if np.isnan(np.asarray(model.initial_imputer_.statistics_, dtype=float)).any() or not _is_nan(model.missing_values):
        raise NotImplementedError("IterativeImputer is converted where every column of its training data has numbers")
    if model.sample_posterior or model.add_indicator:
        raise NotImplementedError("IterativeImputer is converted without sample_posterior and add_indicator")
    if any(not hasattr(step.estimator, "coef_") for step in steps) or len(steps) > MAX_REGRESSIONS:
        raise NotImplementedError(f"IterativeImputer is converted with at most {MAX_REGRESSIONS} linear regressions")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))
