"""How far rounding can move the scores of a model: by the number of trees whose answers it adds, and by its floats.

Decides that only trees are counted: other models add other numbers for each class, and exact ties are rare there. Sums
are float64 where each ensemble is of the operator that adds in it; the older operators answer in float32. Refuses to
know which rows are tied.
"""

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from contract.tensors import Array
from contract.ties import Ties, rounding, ties_of
from controller.convert.classes import MAX_PARSED_BYTES
from controller.convert.model_file import Model, parse_model, size_of


def ties_of_model(model: Model, answers: Mapping[str, Array]) -> Ties | None:
    """Returns how to find ties among the answers of a model, learned from `answers` (rows, ...) by output; None unless
    these are labels with scores. Only then the model is parsed.
    """
    if ties_of(answers, 0.0) is None:
        return None
    return ties_of(answers, score_rounding(model))


def score_rounding(model: Model) -> float:
    """Returns how far two equal scores of a model may differ, as a fraction of the largest score.

    A model of more than `MAX_PARSED_BYTES` is taken for a network in float32.
    """
    if size_of(model) > MAX_PARSED_BYTES:
        return rounding(1, "float32")
    graph = parse_model(model).graph
    ensembles = [node for node in graph.node if node.op_type.startswith("TreeEnsemble")]
    double = all(map(_adds_in_float64, ensembles)) if ensembles else _takes_float64(graph)
    return rounding(sum(map(_trees, ensembles)), "float64" if double else "float32")


def _trees(node: onnx.NodeProto) -> int:
    given = {each.name: each.ints for each in node.attribute if each.name in ("tree_roots", "nodes_treeids")}
    return len(given.get("tree_roots") or set(given.get("nodes_treeids", ())))


def _adds_in_float64(node: onnx.NodeProto) -> bool:
    return any(each.name == "nodes_splits" and each.t.data_type == TensorProto.DOUBLE for each in node.attribute)


def _takes_float64(graph: onnx.GraphProto) -> bool:
    return any(entry.type.tensor_type.elem_type == TensorProto.DOUBLE for entry in graph.input)
