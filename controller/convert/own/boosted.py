"""Boosted trees that were read from another library's text, as estimators: their answers, and their ONNX form.

Decides that rows are compared in float32 where the library does so. Refuses to know how a text is read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from contract.tensors import Array
from controller.convert.own.graph import Graph
from controller.convert.own.rounding import rounded_down


@dataclass(frozen=True, slots=True)
class BoostedTree:
    """One tree: arrays of shape (nodes,). A row goes left if its number is at most the threshold."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    leaf: Array


@dataclass(frozen=True, slots=True)
class Boosted:
    """All trees of a model."""

    trees: tuple[BoostedTree, ...]
    targets: tuple[int, ...]
    """The column to which the leaves of each tree are added."""
    start: Array
    """The initial value of each column."""
    link: str
    """The function applied to the sums: `identity`, `logistic`, `softmax` or `exp`."""
    rounds: bool
    """Whether the library rounds rows to float32 before it compares them."""
    columns: int


class _Booster(BaseEstimator):
    def __init__(self, boosted: Boosted, classes: Any = None) -> None:
        self.boosted = boosted
        self.classes = classes
        self.n_features_in_ = boosted.columns
        self._predictors = ()
        self.estimators_ = [_Splits(tree) for tree in boosted.trees]

    def fit(self, rows: Any, targets: Any) -> Any:
        """Raises NotImplementedError: it was fitted elsewhere."""
        raise NotImplementedError("a booster that was read from a text cannot be fitted")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _sums(self, rows: Any) -> Array:
        given = np.asarray(rows, dtype=np.float64)
        given = given.astype(np.float32).astype(np.float64) if self.boosted.rounds else given
        sums = np.tile(self.boosted.start, (len(given), 1))
        for tree, target in zip(self.boosted.trees, self.boosted.targets, strict=True):
            sums[:, target] += tree.value[_leaves(tree, given)]
        return sums


def _leaves(tree: BoostedTree, rows: Array) -> Array:
    """The leaf for each row."""
    at = np.zeros(len(rows), dtype=np.int64)
    while not tree.leaf[at].all():
        number = rows[np.arange(len(rows)), tree.feature[at]]
        to_left = np.where(np.isnan(number), tree.missing_left[at], number <= tree.threshold[at])
        at = np.where(tree.leaf[at], at, np.where(to_left, tree.left[at], tree.right[at]))
    return at


class _Splits:
    """A tree in the form that the test rows need: arrays of its columns and thresholds."""

    def __init__(self, tree: BoostedTree) -> None:
        self.tree_ = self
        self.feature = tree.feature
        self.threshold = tree.threshold
        self.children_left = np.where(tree.leaf, -1, tree.left)
        self.children_right = np.where(tree.leaf, -1, tree.right)


class BoostedClassifier(ClassifierMixin, _Booster):
    """Boosted trees that predict classes."""

    @property
    def classes_(self) -> Array:
        """The classes, in the order of the probabilities."""
        return np.asarray(self.classes)

    def predict_proba(self, rows: Any) -> Array:
        """Probabilities (rows, classes)."""
        sums = self._sums(rows)
        if self.boosted.link == "softmax":
            return np.asarray(softmax(sums, axis=1))
        positive = expit(sums[:, 0])
        return np.stack([1.0 - positive, positive], axis=1)

    def predict(self, rows: Any) -> Array:
        """Classes (rows,)."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(rows), axis=1)])


class BoostedRegressor(RegressorMixin, _Booster):
    """Boosted trees that predict a number."""

    def predict(self, rows: Any) -> Array:
        """Numbers (rows,), or (rows, targets)."""
        sums = self._sums(rows)
        found = {"identity": lambda x: x, "logistic": expit, "exp": np.exp}[self.boosted.link](sums)
        return np.asarray(found[:, 0] if found.shape[1] == 1 else found)


def classes_of_trees(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Converts a BoostedClassifier."""
    sums = _sums(graph, model.boosted, given)
    if model.boosted.link == "softmax":
        fractions = graph.node("Softmax", sums, axis=1)
    else:
        positive = graph.node("Sigmoid", sums)
        fractions = graph.node("Concat", graph.node("Sub", 1.0, positive), positive, axis=1)
    return [graph.labels(graph.first_of_most(fractions), model.classes_), fractions]


def numbers_of_trees(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """Converts a BoostedRegressor."""
    sums = _sums(graph, model.boosted, given)
    operator = {"identity": "Identity", "logistic": "Sigmoid", "exp": "Exp"}[model.boosted.link]
    return [graph.node(operator, sums)]


def _sums(graph: Graph, boosted: Boosted, given: list[Any]) -> str:
    rows = graph.numbers(given)
    narrow = boosted.rounds or not graph.double
    rows = graph.cast(rows, 1) if narrow else rows
    attributes = _attributes(boosted, np.dtype(np.float32 if narrow else np.float64))
    found = graph.node(
        "TreeEnsembleRegressor", rows, domain="ai.onnx.ml", n_targets=len(boosted.start),
        aggregate_function="SUM", post_transform="NONE", **attributes,
    )  # fmt: skip
    return graph.node("Add", graph.cast(found, graph.kind), boosted.start[None])


def _attributes(boosted: Boosted, real: Any) -> dict[str, Any]:
    """Returns the attributes of an ensemble. In float32 thresholds are rounded down, so that the same float32 numbers
    go left.
    """
    trees = boosted.trees
    numbers = [np.arange(len(tree.leaf)) for tree in trees]
    in_tree = np.concatenate([np.full(len(tree.leaf), at) for at, tree in enumerate(trees)])
    leaf, nodes = np.concatenate([tree.leaf for tree in trees]), np.concatenate(numbers)
    target = np.asarray(boosted.targets)[in_tree]
    inner = {name: np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees])) for name in _INNER}
    thresholds = np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))
    return {
        "nodes_treeids": in_tree.tolist(), "nodes_nodeids": nodes.tolist(),
        "nodes_featureids": inner["feature"].tolist(), "nodes_truenodeids": inner["left"].tolist(),
        "nodes_falsenodeids": inner["right"].tolist(),
        "nodes_missing_value_tracks_true": inner["missing_left"].astype(int).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": rounded_down(thresholds) if real == np.float32 else thresholds,
        "nodes_hitrates": np.ones(len(leaf), dtype=real),
        "target_treeids": in_tree[leaf].tolist(), "target_nodeids": nodes[leaf].tolist(),
        "target_ids": target[leaf].tolist(),
        "target_weights": np.concatenate([tree.value for tree in trees])[leaf].astype(real),
    }  # fmt: skip


_INNER = ("feature", "left", "right", "missing_left")
