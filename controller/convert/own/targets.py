"""A regressor of transformed targets: the prediction of the regressor within it, transformed back.

Decides which transformations have an inverse here: scalers, powers, quantiles, and functions of numpy by name.
"""

from typing import Any

import numpy as np
from skl2onnx import _parse

from controller.convert.own.curves import error_function, interpolated
from controller.convert.own.graph import Graph

FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "square", "cbrt", "negative", "reciprocal")
"""Functions of numpy that are written in ONNX."""


def apply_function(graph: Graph, function: Any, rows: str) -> str:
    """Applies one of numpy's functions to a number. NotImplementedError for any other callable."""
    if function is None:
        return rows
    name = getattr(function, "__name__", "")
    if not isinstance(function, np.ufunc) or name not in FUNCTIONS:
        raise NotImplementedError(f"FunctionTransformer({name or function!r:.40}) is not converted: {FUNCTIONS} are")
    if name == "log1p":
        return graph.node("Log", graph.node("Add", rows, 1.0))
    if name == "expm1":
        return graph.node("Sub", graph.node("Exp", rows), 1.0)
    if name == "square":
        return graph.node("Mul", rows, rows)
    if name == "cbrt":
        return graph.node("Mul", graph.node("Sign", rows), graph.node("Pow", graph.node("Abs", rows), 1.0 / 3.0))
    return graph.node({"negative": "Neg"}.get(name, name.capitalize()), rows)


def takes_function(model: Any) -> bool:
    """Whether a FunctionTransformer has a function that must be converted."""
    return model.func is not None


def function(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """FunctionTransformer with a function of numpy, or with none."""
    if model.kw_args:
        raise NotImplementedError("FunctionTransformer is converted without kw_args")
    return [apply_function(graph, model.func, graph.numbers(given))]


def parse_transformed(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares a TransformedTargetRegressor behind its regressor."""
    found = _parse._parse_sklearn(scope, model.regressor_, inputs)
    operator = scope.declare_local_operator("EdgewardTransformedTargetRegressor", model)
    operator.inputs = found[:1]
    operator.outputs.append(scope.declare_local_variable("variable", found[0].type.__class__([None, None])))
    return list(operator.outputs)


def transformed_back(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """TransformedTargetRegressor."""
    rows = (
        graph.node("Reshape", given[0].full_name, np.array([-1, 1])) if model._training_dim == 1 else given[0].full_name
    )
    return [inverse(graph, model.transformer_, rows)]


def inverse(graph: Graph, transformer: Any, rows: str) -> str:
    """Returns the numbers from which a transformer made its output."""
    name = type(transformer).__name__
    if name == "FunctionTransformer":
        return apply_function(graph, transformer.inverse_func, rows)
    if name == "MinMaxScaler":
        return graph.node("Div", graph.node("Sub", rows, transformer.min_), transformer.scale_)
    if name in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        centre = {"StandardScaler": "mean_", "RobustScaler": "center_"}.get(name)
        moved = None if centre is None else getattr(transformer, centre, None)
        scaled = rows if transformer.scale_ is None else graph.node("Mul", rows, transformer.scale_)
        return scaled if moved is None else graph.node("Add", scaled, moved)
    if name == "PowerTransformer":
        return _powers(graph, transformer, rows)
    if name == "QuantileTransformer":
        return _quantiles(graph, transformer, rows)
    raise NotImplementedError(f"the inverse of {name} is not converted")


def _quantiles(graph: Graph, transformer: Any, rows: str) -> str:
    if transformer.output_distribution == "normal":
        erf = error_function(graph, graph.node("Div", rows, float(np.sqrt(2))))
        rows = graph.node("Mul", graph.node("Add", erf, 1.0), 0.5)
    quantiles = transformer.quantiles_
    columns = [
        interpolated(graph, graph.take(rows, [number]), transformer.references_, quantiles[:, number])
        for number in range(quantiles.shape[1])
    ]
    return columns[0] if len(columns) == 1 else graph.node("Concat", *columns, axis=1)


def _powers(graph: Graph, transformer: Any, rows: str) -> str:
    if transformer.standardize:
        rows = inverse(graph, transformer._scaler, rows)
    undo = _undo_box_cox if transformer.method == "box-cox" else _undo_yeo_johnson
    columns = [
        undo(graph, graph.take(rows, [number]), float(power)) for number, power in enumerate(transformer.lambdas_)
    ]
    return columns[0] if len(columns) == 1 else graph.node("Concat", *columns, axis=1)


def _undo_box_cox(graph: Graph, column: str, power: float) -> str:
    if power == 0:
        return graph.node("Exp", column)
    return graph.node("Pow", graph.node("Add", graph.node("Mul", column, power), 1.0), 1.0 / power)


def _undo_yeo_johnson(graph: Graph, column: str, power: float) -> str:
    """Source: scikit-learn's PowerTransformer: one Box-Cox curve above zero, a mirrored one below."""
    above = graph.node("Sub", _undo_box_cox(graph, graph.node("Max", column, 0.0), power), 1.0)
    mirrored = graph.node("Neg", graph.node("Min", column, 0.0))
    below = graph.node("Sub", 1.0, _undo_box_cox(graph, mirrored, 2.0 - power))
    return graph.node("Where", graph.node("GreaterOrEqual", column, 0.0), above, below)
