"""Imputers: with one number or text for each column, and by regressions of a column of numbers on the others.

Decides which of their parameters are covered; for others skl2onnx's own converter of SimpleImputer is used. ONNX has no
missing text, so devices send `MISSING_TEXT` in its place.
"""

from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from controller.convert.own.graph import Graph

MAX_REGRESSIONS = 500
"""The most regressions of an IterativeImputer: each is eight nodes, and a device accepts at most 50,000 nodes."""
MISSING_TEXT = "<missing>"
"""The text in place of a missing one, for a SimpleImputer: a text that nobody writes, while some people write "nan"."""


def takes_simple(model: Any, given: list[Any]) -> bool:
    """Whether a SimpleImputer is of real numbers only, or of texts only.

    onnxruntime has its operator for float32, and skl2onnx converts texts only where a text stands for missing ones.
    """
    return _takes_texts(model, given) or _takes_reals(model, given)


def _takes_texts(model: Any, given: list[Any]) -> bool:
    texts = all(isinstance(variable.type, StringTensorType) for variable in given)
    plain = texts and (_is_nan(model.missing_values) or model.missing_values is None) and not model.add_indicator
    return bool(plain and all(isinstance(each, str) for each in model.statistics_))


def _takes_reals(model: Any, given: list[Any]) -> bool:
    real = len(given) == 1 and isinstance(given[0].type, (FloatTensorType, DoubleTensorType))
    plain = real and _is_nan(model.missing_values) and not model.add_indicator
    return bool(plain and model.statistics_.dtype.kind == "f" and not np.isnan(model.statistics_).any())


def simple(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """SimpleImputer."""
    if _takes_texts(model, given):
        columns = zip(graph.columns(given), model.statistics_, strict=True)
        return [graph.node("Concat", *[_filled(graph, column, fill) for column, fill in columns], axis=1)]
    rows = given[0].full_name
    return [graph.node("Where", graph.node("IsNaN", rows), graph.constant(model.statistics_[None], "fill"), rows)]


def _filled(graph: Graph, column: str, fill: str) -> str:
    """A column of texts (rows, 1), with another text in place of `MISSING_TEXT`."""
    known = {"keys_strings": [MISSING_TEXT], "values_int64s": [1], "default_int64": 0}
    lacks = graph.cast(graph.node("LabelEncoder", column, domain="ai.onnx.ml", **known), TensorProto.BOOL)
    return graph.node("Where", lacks, graph.constant(np.array([[fill]]), "fill"), column)


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
