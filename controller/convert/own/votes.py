"""Classifiers that decide by the scores of inner binary classifiers: thresholds, one against the rest, codes.

Decides that the margin of a linear inner classifier is computed here; other inner classifiers give probabilities by
their own converters. Refuses to know those.
"""

from typing import Any

import numpy as np
from skl2onnx import _parse
from skl2onnx.common.data_types import Int64TensorType

from contract.tensors import Array
from controller.convert.own.graph import Graph, label_type, real_type

UNDERFLOW = -745.13
"""A margin below this has the probability 0 in float64."""


SLACK = 4 * float(np.finfo(np.float32).eps)
"""The relative distance below a threshold that still counts as equal: trees answer in float32, and a threshold is often
one of their answers."""


def is_linear(model: Any) -> bool:
    """Whether the binary classifier's margin is one affine map, and its probability the logistic function of it."""
    return type(model).__name__ == "LogisticRegression" and model.coef_.shape[0] == 1


def _is_affine(model: Any) -> bool:
    """Whether the score that is compared with a code is one affine map: of a linear classifier, or a constant."""
    return is_linear(model) or type(model).__name__ == "_ConstantPredictor"


def _weights_of(models: list[Any], columns: int) -> tuple[Array, Array]:
    """(weights (columns, models), offsets (models,)) of affine inner classifiers."""
    weights, offsets = np.zeros((columns, len(models))), np.zeros(len(models))
    for number, model in enumerate(models):
        if is_linear(model):
            weights[:, number], offsets[number] = model.coef_[0], np.ravel(model.intercept_)[0]
        else:
            offsets[number] = model.y_[0]
    return weights, offsets


def takes_one_against_rest(model: Any) -> bool:
    """Whether a OneVsRestClassifier has linear inner classifiers for more than two classes."""
    return not model.multilabel_ and len(model.estimators_) > 1 and all(map(is_linear, model.estimators_))


def one_against_rest(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """OneVsRestClassifier: the class of the largest margin, and probabilities that add up to 1."""
    columns = model.estimators_[0].coef_.shape[1]
    margins = graph.affine(graph.numbers(given), *_weights_of(model.estimators_, columns))
    tail = graph.node("Log", graph.node("Add", graph.node("Exp", graph.node("Neg", graph.node("Abs", margins))), 1.0))
    logarithms = graph.node("Sub", graph.node("Min", margins, 0.0), tail)  # float32 cannot hold the separate parts
    nothing = graph.node("Less", graph.reduce("ReduceMax", margins), UNDERFLOW)
    parts = graph.node("Where", nothing, 0.0, graph.node("Softmax", logarithms, axis=1))
    at = graph.first_of_most(margins)
    return [graph.labels(at, model.classes_), parts]


def fractions(graph: Graph, scores: str, parts: str, classes: Any) -> list[str]:
    """The class of the largest score, of equal ones the first, and fractions that sum to 1 unless all are 0."""
    total = graph.reduce("ReduceSum", parts)
    whole = graph.node("Where", graph.node("Equal", total, 0.0), 1.0, total)
    at = graph.first_of_most(scores)
    return [graph.labels(at, classes), graph.node("Div", parts, whole)]


def parse_codes(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares an OutputCodeClassifier: its inner classifiers first, unless they are linear."""
    if not all(map(_is_affine, model.estimators_)):
        inputs = [inner_probabilities(scope, inner, inputs) for inner in model.estimators_ if not _is_affine(inner)]
    operator = scope.declare_local_operator("EdgewardOutputCodeClassifier", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", label_type(model.classes_)))
    return list(operator.outputs)


def codes(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """OutputCodeClassifier: the class whose code is nearest to the inner scores."""
    if all(map(_is_affine, model.estimators_)):
        columns = next((inner.coef_.shape[1] for inner in model.estimators_ if is_linear(inner)), model.n_features_in_)
        scores = graph.affine(graph.numbers(given), *_weights_of(model.estimators_, columns))
    else:
        asked = iter([graph.take(graph.cast(each.full_name, graph.kind), [1]) for each in given])
        rows = given[0].full_name
        columns = [
            graph.rows_of(rows, [float(inner.y_[0])]) if _is_affine(inner) else next(asked)
            for inner in model.estimators_
        ]
        scores = graph.node("Concat", *columns, axis=1)
    return [graph.labels(graph.first_of_least(graph.squared_distances(scores, model.code_book_)), model.classes_)]


def inner_probabilities(scope: Any, model: Any, inputs: list[Any]) -> Any:
    """Declares an inner classifier, and returns the variable of its probabilities."""
    if not hasattr(model, "predict_proba") or hasattr(model, "decision_function"):
        raise NotImplementedError(f"{type(model).__name__} as an inner classifier is not converted")
    return parsed_classifier(scope, model, inputs)


def parsed_classifier(scope: Any, model: Any, inputs: list[Any]) -> Any:
    """Declares a classifier whose probabilities are an array, and returns the variable of them."""
    return inner_classifier(scope, model, inputs)[1]


def inner_classifier(scope: Any, model: Any, inputs: list[Any]) -> list[Any]:
    """Declares a classifier whose probabilities are an array. Returns its variables: the label, and these."""
    last = model
    while hasattr(last, "steps"):
        scope.add_options(id(last), {"zipmap": False})
        last = last.steps[-1][1]
    scope.add_options(id(last), {"zipmap": False})
    return list(_parse._parse_sklearn(scope, model, inputs))


def parse_threshold(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares a classifier with a threshold, behind the classifier within it."""
    inner = getattr(model, "estimator_", model.estimator)
    if not hasattr(inner, "predict_proba") or model.response_method == "decision_function":
        raise NotImplementedError(f"{type(model).__name__} is converted where its threshold is one of probabilities")
    operator_name = f"Edgeward{type(model).__name__}"
    found = parsed_classifier(scope, inner, inputs)
    operator = scope.declare_local_operator(operator_name, model)
    operator.inputs = [found]
    operator.outputs.append(scope.declare_local_variable("label", label_type(model.classes_)))
    operator.outputs.append(scope.declare_local_variable("probabilities", found.type.__class__([None, 2])))
    return list(operator.outputs)


def above_threshold(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """FixedThresholdClassifier and TunedThresholdClassifierCV: the positive class at or above the threshold."""
    classes, probabilities = np.asarray(model.classes_), given[0].full_name
    tuned = hasattr(model, "best_threshold_")
    wanted = model._curve_scorer._get_pos_label() if tuned else model.pos_label
    positive = 1 if wanted is None else int(np.flatnonzero(classes == wanted)[0])
    threshold = model.best_threshold_ if tuned else (0.5 if model.threshold == "auto" else model.threshold)
    score = graph.node("Reshape", graph.take(probabilities, [positive]), np.array([-1]))
    above = graph.cast(graph.node("GreaterOrEqual", score, float(threshold) * (1 - SLACK)), 7)
    at = above if positive == 1 else graph.node("Sub", np.array(1), above)
    return [graph.labels(at, classes), graph.node("Identity", probabilities)]


def parse_votes(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares a VotingClassifier behind the classifiers within it, by their labels or by their probabilities."""
    if model.voting == "soft":
        return _soft(scope, model, [parsed_classifier(scope, inner, inputs) for inner in model.estimators_])
    operator_inputs = [_inner_label(scope, inner, inputs) for inner in model.estimators_]
    operator = scope.declare_local_operator("EdgewardMajority", model)
    operator.inputs = operator_inputs
    operator.outputs.append(scope.declare_local_variable("label", label_type(model.classes_)))
    operator.outputs.append(scope.declare_local_variable("votes", Int64TensorType()))
    return list(operator.outputs)


def _soft(scope: Any, model: Any, probabilities: list[Any]) -> list[Any]:
    operator = scope.declare_local_operator("EdgewardSoftVotes", model)
    operator.inputs = probabilities
    operator.outputs.append(scope.declare_local_variable("label", label_type(model.classes_)))
    kind = real_type(probabilities)
    operator.outputs.append(scope.declare_local_variable("probabilities", kind([None, len(model.classes_)])))
    return list(operator.outputs)


def _inner_label(scope: Any, model: Any, inputs: list[Any]) -> Any:
    """Declares an inner classifier, and returns the variable of its label."""
    scope.add_options(id(model), {"zipmap": False})
    return _parse._parse_sklearn(scope, model, inputs)[0]


def majority(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """VotingClassifier with hard votes: the class with most votes, of equal ones the first, and the vote of each
    classifier.

    Weights are added in float64 and in their order, since 0.1 + 0.2 is more than 0.3 in scikit-learn too.
    """
    each = [graph.node("Reshape", name.full_name, np.array([-1, 1])) for name in given]
    exact, weights = graph.in_float64(), model._weights_not_none
    weights = np.ones(len(given)) if weights is None else np.asarray(weights, dtype=float)
    numbers = np.arange(len(model.classes_))[None]
    chosen = [exact.cast(exact.node("Equal", votes, numbers), exact.kind) for votes in each]
    weighted = [exact.node("Mul", votes, weight) for votes, weight in zip(chosen, weights, strict=True)]
    counted = exact.node("Sum", *weighted)
    return [graph.labels(graph.first_of_most(counted), model.classes_), graph.node("Concat", *each, axis=1)]


def soft_votes(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """VotingClassifier with soft votes: the weighted sum of the probabilities, divided by the sum of the weights.

    skl2onnx divides each weight before it adds, which rounds otherwise where two classes are equally likely.
    """
    weights = model._weights_not_none
    each = [graph.cast(variable.full_name, graph.kind) for variable in given]
    if weights is not None:
        each = [graph.node("Mul", name, float(weight)) for name, weight in zip(each, weights, strict=True)]
    total = float(len(each)) if weights is None else float(np.sum(weights))
    parts = graph.node("Div", graph.node("Sum", *each), total)
    return [graph.labels(graph.first_of_most(parts), model.classes_), parts]
