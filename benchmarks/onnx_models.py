"""Small valid models of different structure, from which mutants are made."""

from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from firmware_sim.real_models import onnx_bytes


@cache
def originals() -> list[bytes]:
    """Returns ONNX files of a few hundred bytes each, so that most changes hit structure and not weights."""
    return [onnx_bytes(1, "good"), onnx_bytes(1, "raises"), _branches(), _trees(), _sequence()]


def _saved(nodes: list[object], gives: object, tensors: list[object], ml: int = 0) -> bytes:
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    graph = helper.make_graph(nodes, "model", [takes], [gives], tensors)
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid("ai.onnx.ml", ml)] if ml else [])]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(made, {"made": "by a test"})
    raw: bytes = made.SerializeToString()
    return raw


def _branches() -> bytes:
    """Returns a model with graphs inside a graph."""
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)

    def branch(name: str) -> object:
        weights = numpy_helper.from_array(np.ones(4, dtype=np.float32), f"w_{name}")
        return helper.make_graph([helper.make_node("Add", ["x", f"w_{name}"], ["y"])], name, [], [gives], [weights])

    chosen = helper.make_node("If", ["c"], ["y"], then_branch=branch("then"), else_branch=branch("otherwise"))
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    return _saved([constant, chosen], gives, [])


def _trees() -> bytes:
    """Returns a model whose attributes hold lists of numbers and of texts."""
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, -1.0],
    )  # fmt: skip
    return _saved([node], gives, [], ml=3)


def _sequence() -> bytes:
    """Returns a model with types inside types, and with tensors that use every kind of data field."""
    gives = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    tensors = [
        helper.make_tensor("floats", TensorProto.FLOAT, [1, 4], [1.0, 2.0, 3.0, 4.0]),
        helper.make_tensor("numbers", TensorProto.INT64, [2], [-1, 2**40]),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"]),
        helper.make_tensor("exact", TensorProto.DOUBLE, [1], [0.5]),
    ]
    nodes = [helper.make_node("Add", ["x", "floats"], ["s"]), helper.make_node("SequenceConstruct", ["x", "s"], ["y"])]
    return _saved(nodes, gives, tensors)
