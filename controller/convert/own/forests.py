"""Classifiers of trees, with the label that scikit-learn gives where classes are equally likely.

Half of ten trees may vote for either class. scikit-learn adds the trees in their order, divides by their number, and
takes the first class with the largest result. skl2onnx divides each vote before it adds them, and subtracts the second
class of two from 1: both round otherwise, so rows with such ties got another label. Decides that votes are added first,
class by class, and that the first class wins. Votes of leaves with one class are whole numbers, which float32 adds
without rounding. Refuses to know how trees become attributes.
"""

from typing import Any

import numpy as np

from contract.tensors import Array
from controller.convert.own.graph import Graph
from controller.convert.tree_writer import node_attributes, write_tree

_ROUNDING = 1e-9
"""The sum of a leaf's fractions may differ from 1 by this much. Older versions of scikit-learn kept counts."""


def takes_forest(model: Any, inputs: list[Any]) -> bool:
    """Whether it classifies into the classes of one target."""
    del inputs
    return bool(model.n_outputs_ == 1)


def forest(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier, ExtraTreeClassifier."""
    trees = [each.tree_ for each in getattr(model, "estimators_", [model])]
    attributes = node_attributes()
    leaves = [write_tree(attributes, tree, number, graph.real) for number, tree in enumerate(trees)]
    fractions = [_fractions(tree)[leaf] for tree, leaf in zip(trees, leaves, strict=True)]
    whole = all(((each == 0) | (each == 1)).all() for each in fractions)
    alone = len(model.classes_) == 2 and not graph.double and not whole  # half the leaves: float32 rounds in any case
    kept = [each[:, 1:] if alone else each for each in fractions]
    sums = graph.cast(_ensemble(graph, graph.numbers(given), attributes | _targets(leaves, kept)), graph.kind)
    parts = sums if len(trees) == 1 else graph.node("Div", sums, float(len(trees)))
    parts = graph.node("Concat", graph.node("Sub", 1.0, parts), parts, axis=1) if alone else parts
    return [graph.labels(graph.first_of_most(parts), model.classes_), parts]


def _ensemble(graph: Graph, rows: str, attributes: dict[str, Any]) -> str:
    """Adds the ensemble. Numbers of float64 become tensors, since lists of numbers are float32."""
    numbers = {
        name: np.array(values, graph.real) if name in ("nodes_values", "nodes_hitrates", "target_weights") else values
        for name, values in attributes.items()
    }
    return graph.node(
        "TreeEnsembleRegressor", rows, domain="ai.onnx.ml", aggregate_function="SUM", post_transform="NONE", **numbers
    )


def _fractions(tree: Any) -> Array:
    """Returns the fraction of each class in each node, as scikit-learn answers it: float64 (nodes, classes)."""
    values = np.asarray(tree.value, dtype=np.float64).reshape(tree.node_count, -1)
    sums = values.sum(axis=1, keepdims=True)
    return np.where(np.abs(sums - 1) <= _ROUNDING, values, values / np.where(sums == 0.0, 1.0, sums))


def _targets(leaves: list[Array], fractions: list[Array]) -> dict[str, Any]:
    """Returns what each leaf adds to which class, as attributes; nothing where it adds 0."""
    found: dict[str, list[Any]] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (leaf, weights) in enumerate(zip(leaves, fractions, strict=True)):
        kept = weights != 0
        kept[:, 0] |= ~kept.any(axis=1)  # each leaf adds to one class at least
        rows, classes = np.nonzero(kept)
        found["target_treeids"] += [number] * len(rows)
        found["target_nodeids"] += np.flatnonzero(leaf)[rows].tolist()
        found["target_ids"] += classes.tolist()
        found["target_weights"] += weights[kept].tolist()
    return {**found, "n_targets": fractions[0].shape[1]}
