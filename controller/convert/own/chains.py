"""Chains of estimators, of which each sees the rows and the answers of those before it.

Decides that an inner estimator is converted by its own converter, behind a matrix of the rows and the answers so far.
Refuses to know the inner estimators. Source of the rule: scikit-learn 1.9, multioutput.py, `_BaseChain`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from skl2onnx import _parse

from controller.convert.own.graph import Graph, real_type
from controller.convert.own.votes import inner_classifier

BESIDE = "EdgewardBeside"
"""The operator that puts answers beside the rows."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What the operator `BESIDE` has to know."""

    columns: tuple[int, ...]
    """Of each input, the column that is taken; -1: all."""
    width: int


def parse_regressors(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares a RegressorChain behind its regressors."""
    answers: list[Any] = []
    for number, inner in enumerate(model.estimators_):
        rows = _beside(scope, inputs, answers, (-1,) * number, model)
        answers.append(_parse._parse_sklearn(scope, inner, [rows])[0])
    return _declared(scope, model, answers, ("variable",))


def parse_classifiers(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares a ClassifierChain behind its classifiers, which give labels and probabilities."""
    if model.chain_method_ == "decision_function" or not all(
        hasattr(each, "predict_proba") for each in model.estimators_
    ):
        raise NotImplementedError("ClassifierChain is converted with classifiers that give probabilities")
    labels, fractions = list[Any](), list[Any]()
    column = -1 if model.chain_method_ == "predict" else 1
    for number, inner in enumerate(model.estimators_):
        before = labels if model.chain_method_ == "predict" else fractions
        label, parts = inner_classifier(scope, inner, [_beside(scope, inputs, before, (column,) * number, model)])
        labels.append(label)
        fractions.append(parts)
    return _declared(scope, model, [*labels, *fractions], ("variable", "probabilities"))


def _beside(scope: Any, inputs: list[Any], answers: list[Any], columns: tuple[int, ...], model: Any) -> Any:
    width = int(model.n_features_in_) + len(answers)
    operator = scope.declare_local_operator(BESIDE, Beside((*[-1] * len(inputs), *columns), width))
    operator.inputs = [*inputs, *answers]
    made = scope.declare_local_variable("beside", real_type(inputs)([None, width]))
    operator.outputs.append(made)
    return made


def _declared(scope: Any, model: Any, answers: list[Any], outputs: tuple[str, ...]) -> list[Any]:
    operator = scope.declare_local_operator(f"Edgeward{type(model).__name__}", model)
    operator.inputs = answers
    real = real_type(answers)
    for name in outputs:
        operator.outputs.append(scope.declare_local_variable(name, real([None, len(model.estimators_)])))
    return list(operator.outputs)


def beside(graph: Graph, model: Beside, given: list[Any]) -> list[str]:
    """Writes the operator `BESIDE`: rows, and one column of each answer."""
    parts = [_column(graph, each, column, whole=column < 0) for each, column in zip(given, model.columns, strict=True)]
    return [parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)]


def _column(graph: Graph, given: Any, column: int, *, whole: bool) -> str:
    reals = graph.cast(given.full_name, graph.kind)
    if not whole:
        return graph.take(reals, [column])
    shape = given.type.shape
    return reals if len(shape) == 2 and shape[1] != 1 else graph.node("Reshape", reals, np.array([-1, 1]))


def regressors(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RegressorChain: the answers in the order of the targets."""
    return [_in_order(graph, [_column(graph, each, -1, whole=True) for each in given], model)]


def classifiers(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """ClassifierChain: the labels as numbers, and the probabilities of their second classes, in the order of the
    targets.
    """
    count = len(model.estimators_)
    labels = [
        graph.node("Reshape", graph.cast(each.full_name, graph.kind), np.array([-1, 1])) for each in given[:count]
    ]
    parts = [_column(graph, each, 1, whole=False) for each in given[count:]]
    return [_in_order(graph, labels, model), _in_order(graph, parts, model)]


def _in_order(graph: Graph, columns: list[str], model: Any) -> str:
    placed = [columns[number] for number in np.argsort(model.order_)]
    return placed[0] if len(placed) == 1 else graph.node("Concat", *placed, axis=1)
