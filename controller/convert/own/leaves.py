"""A forest that returns the leaf of each tree for a row: one column for each leaf.

Decides that a leaf is its own target, to which it adds 1. Refuses to know how trees become attributes.
"""

from typing import Any

import numpy as np
from onnx import TensorProto

from controller.convert.own.graph import Graph
from controller.convert.tree_writer import node_attributes, write_tree


def embedded(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """RandomTreesEmbedding."""
    attributes, first = node_attributes(), 0
    targets: dict[str, list[Any]] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (tree, leaves) in enumerate(zip(model.estimators_, model.one_hot_encoder_.categories_, strict=True)):
        write_tree(attributes, tree.tree_, number)
        known = np.asarray(leaves, dtype=np.int64).tolist()
        targets["target_treeids"] += [number] * len(known)
        targets["target_nodeids"] += known
        targets["target_ids"] += list(range(first, first + len(known)))
        targets["target_weights"] += [1.0] * len(known)
        first += len(known)
    rows = graph.cast(graph.numbers(given), TensorProto.FLOAT)  # scikit-learn's trees also round to float32
    found = graph.node(
        "TreeEnsembleRegressor", rows, domain="ai.onnx.ml", n_targets=first, aggregate_function="SUM",
        post_transform="NONE", **attributes, **targets,
    )  # fmt: skip
    return [graph.cast(found, graph.kind)]


def leaves_kept(model: Any) -> int:
    """The number of leaves of all trees."""
    return sum(len(leaves) for leaves in model.one_hot_encoder_.categories_)
