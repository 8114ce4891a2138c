"""Writes scikit-learn's trees into the attributes of an ONNX ensemble, in place of skl2onnx's own writer.

skl2onnx writes for every node that a missing value goes right; scikit-learn learns the side. For a forest that was
fitted with missing values, 7.7 % of the labels differed. For a threshold of infinity, by which a tree separates
missing values from all others, skl2onnx never ends its search in float64. Decides thresholds so that ``x <=
threshold`` answers as scikit-learn does, which rounds x to float32 first. Numbers of float64 models stay float64;
in lists they would be rounded. Refuses to know to which estimator the tree belongs. Source of what is replaced:
skl2onnx/common/tree_ensemble.py, 1.20.
"""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from onnx import numpy_helper
from skl2onnx.common import _registration
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.operator_converters import decision_tree, gradient_boosting, isolation_forest, random_forest

from contract.tensors import Array
from controller.convert.own.rounding import rounded_down

_WRITERS: tuple[Any, ...] = (decision_tree, gradient_boosting, isolation_forest, random_forest)
"""skl2onnx's modules that write trees. A test holds that there are no others."""
_DATA = ("nodes_values", "class_weights")


def install() -> None:
    """Replaces skl2onnx's writers by those of this module. Calling it again changes nothing."""
    for module in _WRITERS:
        module.add_tree_to_attribute_pairs = add_tree
    random_forest.add_tree_to_attribute_pairs_hist_gradient_boosting = add_boosted_tree
    decision_tree.populate_tree_attributes = leaf_numbers
    ModelComponentContainer.add_node = _add_node
    for name, registered in list(_registration._converter_pool.items()):
        convert = registered._fct
        if inspect.getmodule(convert) in _WRITERS and "op_version" in inspect.signature(convert).parameters:
            kept = partial(convert, op_version=_SINCE)  # in version 1 classifiers round their numbers to float32
            _registration._converter_pool[name] = _registration.RegisteredConverter(kept, registered._options)


_ADD_NODE = ModelComponentContainer.add_node
_ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_SINCE = 3
"""The version of ai.onnx.ml in which ensembles take tensors: lists of an attribute are float32."""


def _add_node(container: Any, op_type: str, inputs: Any, outputs: Any, **given: Any) -> None:
    """Adds a node. The numbers of an ensemble in float64 become tensors: skl2onnx rounds thresholds to float32."""
    doubles = {name for name, value in given.items() if getattr(value, "dtype", None) == np.float64}
    if op_type in _ENSEMBLES and doubles:
        tensors = {f"{name}_as_tensor": numpy_helper.from_array(given[name].ravel(), name) for name in doubles}
        kept = {name: value for name, value in given.items() if name not in doubles}
        given = {**kept, **tensors, "op_version": max(given.get("op_version") or _SINCE, _SINCE)}
    _ADD_NODE(container, op_type, inputs, outputs, **given)


def add_tree(  # noqa: PLR0917 - the signature is that of the function it replaces
    attributes: dict[str, Any],
    is_classifier: bool,
    tree: Any,
    tree_id: int,
    tree_weight: float,
    weight_id_bias: int,
    leaf_weights_are_counts: bool,
    adjust_threshold_for_sklearn: bool = False,
    dtype: Any = None,
) -> None:
    """Appends a tree to the attributes of an ensemble: its nodes, and one weight for each leaf and target."""
    thresholds = _thresholds(tree, dtype) if adjust_threshold_for_sklearn else tree.threshold
    leaf = _write_nodes(attributes, tree, tree_id, thresholds)
    weights = np.asarray(tree.value, dtype=np.float64).reshape(tree.node_count, -1)[leaf]
    if leaf_weights_are_counts:
        sums = weights.sum(axis=1, keepdims=True)
        weights = weights * (tree_weight / np.where(sums == 0.0, 1.0, sums))
    else:
        weights = weights * tree_weight
    if is_classifier and weights.shape[1] == 2:
        weights = weights[:, 1:]
    kind, (leaves, targets) = "class" if is_classifier else "target", weights.shape
    attributes[f"{kind}_treeids"] += [tree_id] * weights.size
    attributes[f"{kind}_nodeids"] += np.repeat(np.flatnonzero(leaf), targets).tolist()
    attributes[f"{kind}_ids"] += np.tile(np.arange(targets) + weight_id_bias, leaves).tolist()
    attributes[f"{kind}_weights"] += weights.ravel().tolist()


def add_boosted_tree(  # noqa: PLR0917 - the signature is that of the function it replaces
    attributes: dict[str, Any],
    is_classifier: bool,
    tree: Any,
    tree_id: int,
    tree_weight: float,
    weight_id_bias: int,
    *_: Any,
    dtype: Any = None,
    **__: Any,
) -> None:
    """Appends a tree of histogram gradient boosting, whose thresholds are compared in float64.

    In float32 thresholds are rounded down: exactly the float32 numbers up to the threshold go left.
    """
    nodes = tree.nodes
    if nodes["is_categorical"].any():
        raise NotImplementedError("a tree splits by sets of categories")
    leaf = nodes["is_leaf"].astype(bool)
    arrays = _Nodes(
        leaf=leaf,
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"] if dtype == np.float64 else rounded_down(nodes["num_threshold"]),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing=nodes["missing_go_to_left"].astype(np.int64),
    )
    _write(attributes, arrays, tree_id)
    kind, numbers = "class" if is_classifier else "target", np.flatnonzero(leaf).tolist()
    attributes[f"{kind}_treeids"] += [tree_id] * len(numbers)
    attributes[f"{kind}_nodeids"] += numbers
    attributes[f"{kind}_ids"] += [weight_id_bias] * len(numbers)
    attributes[f"{kind}_weights"] += (nodes["value"][leaf] * tree_weight).tolist()


def leaf_numbers(model: Any, name: str, dtype: Any) -> dict[str, Any]:
    """Returns the attributes of a classifier that answers the number of the leaf into which a row falls."""
    tree = model.tree_
    attributes: dict[str, Any] = {"name": name, "post_transform": "NONE", **{key: [] for key in _NODES}}
    leaf = _write_nodes(attributes, tree, 0, _thresholds(tree, dtype))
    numbers = np.flatnonzero(leaf).tolist()
    attributes |= {"class_ids": numbers, "class_nodeids": numbers, "class_treeids": [0] * len(numbers)}
    attributes |= {"class_weights": [1.0] * len(numbers), "classlabels_int64s": list(range(tree.node_count))}
    if dtype is not None:
        attributes |= {key: np.array(attributes[key], dtype=dtype) for key in _DATA}
    return attributes


def node_attributes() -> dict[str, list[Any]]:
    """Returns the attributes of an ensemble without a tree."""
    return {key: [] for key in _NODES}


def write_tree(attributes: dict[str, list[Any]], tree: Any, tree_id: int, dtype: Any = np.float32) -> Array:
    """Appends the nodes of a tree for rows of `dtype`. Returns which nodes are leaves: bool of shape (nodes,)."""
    return _write_nodes(attributes, tree, tree_id, _thresholds(tree, dtype))


_NODES = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
    "nodes_falsenodeids", "nodes_missing_value_tracks_true", "nodes_hitrates",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The nodes of a tree: arrays of shape (nodes,)."""

    leaf: Array
    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing: Array
    """1 where a missing value goes left."""


def _write_nodes(attributes: dict[str, Any], tree: Any, tree_id: int, thresholds: Array) -> Array:
    """Appends the nodes of a tree. Returns which of them are leaves: bool of shape (nodes,)."""
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    missing = np.asarray(getattr(tree, "missing_go_to_left", np.zeros(len(left))))  # scikit-learn has it since 1.3
    leaf: Array = np.asarray(left == right)
    _write(attributes, _Nodes(leaf, np.asarray(tree.feature), thresholds, left, right, missing), tree_id)
    return leaf


def _write(attributes: dict[str, Any], nodes: _Nodes, tree_id: int) -> None:
    leaf, count = nodes.leaf, len(nodes.leaf)
    attributes["nodes_treeids"] += [tree_id] * count
    attributes["nodes_nodeids"] += list(range(count))
    attributes["nodes_featureids"] += np.where(leaf, 0, nodes.feature).tolist()
    attributes["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
    attributes["nodes_values"] += np.where(leaf, 0.0, nodes.threshold).tolist()
    attributes["nodes_truenodeids"] += np.where(leaf, 0, nodes.left).tolist()
    attributes["nodes_falsenodeids"] += np.where(leaf, 0, nodes.right).tolist()
    attributes["nodes_missing_value_tracks_true"] += np.where(leaf, 0, nodes.missing).astype(int).tolist()
    attributes["nodes_hitrates"] += [1.0] * count


def _thresholds(tree: Any, dtype: Any) -> Array:
    """Returns the thresholds w for which ``float32(x) <= threshold`` exactly if ``x <= w``, for x of
    `dtype`; float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low = rounded_down(np.asarray(tree.threshold, dtype=np.float64))
        if dtype != np.float64:
            return np.asarray(low.astype(np.float64))
        high = np.nextafter(low, np.float32(np.inf))
        middle = low.astype(np.float64) / 2 + high.astype(np.float64) / 2
        even = (low.view(np.int32) & 1) == 0  # a number midway between two is rounded to the even one
        last = np.where(even, middle, np.nextafter(middle, -np.inf))
        return np.asarray(np.where(np.isfinite(middle), last, low.astype(np.float64)))
