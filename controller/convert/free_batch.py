"""A graph for a fixed number of rows, changed so that shapes follow the number of rows that come.

Decides which constants hold the size of the batch: shapes of Reshape, Expand and ConstantOfShape whose first number is
a multiple of it, constants of equal rows that are joined to rows, and first states of zeros. Exporters of PyTorch fold
such constants. Refuses to know whether the answers stay the same: the caller compares them.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from contract.tensors import Array

RECURRENT, STATES, STATE_RANK = ("LSTM", "GRU", "RNN"), 5, 3
"""Layers that keep a state, the place of their first input that is one, and its rank: (directions, rows, numbers)."""
_SHAPED_BY = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Operators that take a shape, and the place of that input."""
_SHAPE_SINCE = 15
"""The version of ONNX since which Shape gives a part of a shape."""


def by_number_of_rows(model: onnx.ModelProto, size: int) -> None:
    """Computes constant shapes and repeats constant rows by the number of rows of the first input.

    Leaves a model of an operator set before _SHAPE_SINCE as it is.
    """
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version < _SHAPE_SINCE:
        return
    graph = model.graph
    leave_out_zero_states(graph, size)
    rows = _Rows(graph, size)
    nodes = [made for node in graph.node for made in (*_before(node, rows), node)]
    del graph.node[:]
    graph.node.extend([*rows.nodes(), *nodes])


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Returns the constants of a graph by name: initializers, and what nodes of constants hold."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def leave_out_zero_states(graph: onnx.GraphProto, size: int) -> None:
    """Lets recurrent layers begin with zeros, as they do by default, where a constant of the batch's size says so."""
    constants = constants_of(graph)
    zeros = {name for name, tensor in constants.items() if list(tensor.dims)[1:2] == [size] and _is_zero(tensor)}
    for node in graph.node:
        if node.op_type in RECURRENT:
            kept = [name not in zeros or place < STATES for place, name in enumerate(node.input)]
            node.input[:] = [name if keep else "" for name, keep in zip(node.input, kept, strict=True)]


def _is_zero(tensor: onnx.TensorProto) -> bool:
    return len(tensor.dims) == STATE_RANK and not numpy_helper.to_array(tensor).any()


class _Rows:
    """Names of tensors that depend on the number of rows, and the nodes and constants that make them."""

    def __init__(self, graph: onnx.GraphProto, size: int) -> None:
        self.size = size
        self.constants = constants_of(graph)
        self._graph = graph
        self._count = 0
        self._of_rows: dict[int, str] = {}

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Yields the nodes that compute multiples of the number of batches; all others follow them."""
        if self._of_rows:
            first = self._graph.input[0].name
            yield helper.make_node("Shape", [first], ["edgeward_rows"], start=0, end=1)
        for times, name in self._of_rows.items():
            given = ["edgeward_rows", self.constant(np.array([times])), self.constant(np.array([self.size]))]
            yield helper.make_node("Mul", given[:2], [f"{name}_product"])
            yield helper.make_node("Div", [f"{name}_product", given[2]], [name])

    def multiple(self, of_size: int) -> str:
        """Returns the name of a first axis that is `of_size` long for one batch: int64 (1,)."""
        return self._of_rows.setdefault(of_size, f"edgeward_rows_{of_size}")

    def constant(self, values: Array) -> str:
        """Adds a constant."""
        name = self.name()
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def name(self) -> str:
        """Returns a name that the graph does not have."""
        self._count += 1
        return f"edgeward_batch_{self._count}"


def _before(node: onnx.NodeProto, rows: _Rows) -> list[onnx.NodeProto]:
    """Returns the nodes that an operator needs before it, whose inputs are changed to their results."""
    place = _SHAPED_BY.get(node.op_type)
    if place is not None and len(node.input) > place:
        return _shape_of_rows(node, place, rows)
    return _repeated_rows(node, rows) if node.op_type == "Concat" else []


def _shape_of_rows(node: onnx.NodeProto, place: int, rows: _Rows) -> list[onnx.NodeProto]:
    tensor = rows.constants.get(node.input[place])
    shape = None if tensor is None else numpy_helper.to_array(tensor)
    if shape is None or shape.ndim != 1 or not shape.size or shape[0] <= 0 or shape[0] % rows.size:
        return []
    made = rows.name()
    parts = [rows.multiple(int(shape[0]))] + ([rows.constant(shape[1:].astype(np.int64))] if shape.size > 1 else [])
    node.input[place] = made
    return [helper.make_node("Concat", parts, [made], axis=0)]


def _repeated_rows(node: onnx.NodeProto, rows: _Rows) -> list[onnx.NodeProto]:
    """Returns nodes that repeat the one row of constants whose rows are all equal, unless rows are joined to rows."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    before: list[onnx.NodeProto] = []
    for place, name in enumerate(node.input):
        tensor = rows.constants.get(name)
        if axis == 0 or tensor is None or len(tensor.dims) < 2 or tensor.dims[0] != rows.size:
            continue
        values = numpy_helper.to_array(tensor)
        if (values == values[:1]).all():
            shape, made = rows.name(), rows.name()
            length = rows.constant(np.array(values.shape[1:], dtype=np.int64))
            before.append(helper.make_node("Concat", [rows.multiple(rows.size), length], [shape], axis=0))
            before.append(helper.make_node("Expand", [rows.constant(values[:1]), shape], [made]))
            node.input[place] = made
    return before
