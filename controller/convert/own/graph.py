"""A part of an ONNX graph under construction: constants and nodes, by the names of their results.

Decides how numbers become tensors: numbers that are not whole get the type of real numbers in this part. Refuses to
know estimators.
"""

import copy
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

from contract.tensors import Array

MAX_DIFFERENCES = 20_000
"""The product of points and columns up to which distances are sums of squared differences, which lose no digits. Larger
ones are expanded to products of matrices, which need no memory of rows times points times columns."""


class Graph:
    """Nodes and constants of one converted part. Every method returns the name of what it adds."""

    def __init__(self, scope: Any, container: Any, given: list[Any]) -> None:
        self._scope, self._container = scope, container
        self.double = any(isinstance(variable.type, DoubleTensorType) for variable in given)
        self.real = np.dtype(np.float64 if self.double else np.float32)
        self.kind = TensorProto.DOUBLE if self.double else TensorProto.FLOAT

    def in_float64(self) -> "Graph":
        """Returns the same part for nodes whose real numbers are float64."""
        part = copy.copy(self)
        part.double, part.real, part.kind = True, np.dtype(np.float64), TensorProto.DOUBLE
        return part

    def constant(self, values: Any, called: str = "constant") -> str:
        """Adds a constant: int64, bool and text unchanged, other numbers as reals."""
        array = np.asarray(values)
        if array.dtype.kind in "US":
            array = array.astype(object)
        elif array.dtype.kind in "iu":
            array = array.astype(np.int64)
        elif array.dtype.kind == "f":
            array = array.astype(self.real)
        name = str(self._scope.get_unique_variable_name(called))
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self._container.initializers.append(tensor)
        return name

    def bytes_of(self, values: Array) -> str:
        """Adds a table of uint8, which takes a quarter of the memory of its numbers."""
        name = str(self._scope.get_unique_variable_name("table"))
        self._container.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values, np.uint8), name))
        return name

    def node(self, operator: str, *given: Any, domain: str = "", **attributes: Any) -> str:
        """Adds a node, whose inputs are names, or values that become constants."""
        names = [each if isinstance(each, str) else self.constant(each) for each in given]
        made = str(self._scope.get_unique_variable_name(operator.lower()))
        number = self._scope.get_unique_operator_name(operator)
        version = {"op_version": 3} if domain == "ai.onnx.ml" else {}
        self._container.add_node(operator, names, [made], op_domain=domain, name=number, **version, **attributes)
        return made

    def reduce(self, operator: str, given: str, axis: int = 1, *, keep: bool = True) -> str:
        """Reduces one axis, which is kept with the length 1 or removed."""
        return self.node(operator, given, np.array([axis]), keepdims=int(keep))

    def both(self, operator: str, *given: Any, **attributes: Any) -> tuple[str, str]:
        """Adds a node with two outputs."""
        names = [each if isinstance(each, str) else self.constant(each) for each in given]
        first, second = (str(self._scope.get_unique_variable_name(operator.lower())) for _ in range(2))
        number = self._scope.get_unique_operator_name(operator)
        self._container.add_node(operator, names, [first, second], name=number, **attributes)
        return first, second

    def bind(self, made: str, wanted: str) -> None:
        """Gives a result the name that the rest of the graph uses."""
        self._container.add_node("Identity", [made], [wanted], name=self._scope.get_unique_operator_name("Identity"))

    def numbers(self, variables: list[Any]) -> str:
        """Returns the inputs as one matrix of reals."""
        reals = [self.cast(variable.full_name, self.kind) for variable in variables]
        return reals[0] if len(reals) == 1 else self.node("Concat", *reals, axis=1)

    def columns(self, variables: list[Any]) -> list[str]:
        """Returns the inputs column by column, each (rows, 1): reals, or texts unchanged."""
        found: list[str] = []
        for variable in variables:
            text = isinstance(variable.type, StringTensorType)
            name = variable.full_name if text else self.cast(variable.full_name, self.kind)
            width = variable.type.shape[1]
            found += [name] if width == 1 else [self.take(name, [column]) for column in range(width)]
        return found

    def cast(self, given: str, kind: int) -> str:
        """The same numbers in another type."""
        return self.node("Cast", given, to=kind)

    def whole(self, given: str) -> str:
        """The same numbers as int64."""
        return self.cast(given, TensorProto.INT64)

    def take(self, given: str, columns: Any) -> str:
        """Some columns of a matrix."""
        return self.node("Gather", given, np.asarray(columns, dtype=np.int64), axis=1)

    def affine(self, given: str, weights: Any, offset: Any) -> str:
        """rows @ weights + offset."""
        return self.node("Add", self.node("MatMul", given, np.asarray(weights, dtype=float)), np.asarray(offset, float))

    def squared_distances(self, given: str, points: Any) -> str:
        """Squared Euclidean distances (rows, points)."""
        points = np.asarray(points, dtype=np.float64)
        if points.size <= MAX_DIFFERENCES:
            away = self.differences(given, points)
            return self.reduce("ReduceSumSquare", away, 2, keep=False)
        norms = self.reduce("ReduceSumSquare", given)
        products = self.node("MatMul", given, -2 * points.T)
        total = self.node("Add", self.node("Add", norms, products), (points**2).sum(axis=1))
        return self.node("Max", total, np.array(0.0))

    def differences(self, given: str, points: Any) -> str:
        """Differences (rows, points, columns)."""
        return self.node("Sub", self.node("Unsqueeze", given, np.array([1])), np.asarray(points, dtype=float)[None])

    def distances(self, given: str, points: Any) -> str:
        """Euclidean distances (rows, points)."""
        return self.node("Sqrt", self.squared_distances(given, points))

    def first_of_least(self, given: str) -> str:
        """The column of the smallest number in each row: int64 (rows,)."""
        return self.node("ArgMin", given, axis=1, keepdims=0)

    def first_of_most(self, given: str) -> str:
        """The column of the largest number in each row: int64 (rows,)."""
        return self.node("ArgMax", given, axis=1, keepdims=0)

    def rows_of(self, given: str, row: Any) -> str:
        """Repeats one row for each row of `given`: reals (rows, columns)."""
        row = np.atleast_2d(row)
        count = self.node("Shape", given, start=0, end=1)
        return self.node("Expand", row, self.node("Concat", count, np.array([row.shape[1]]), axis=0))

    def labels(self, at: str, classes: Any) -> str:
        """The class at each index (rows,): texts, or int64."""
        classes = np.asarray(classes)
        whole = classes if classes.dtype.kind in "OUS" else classes.astype(np.int64)
        return self.node("Gather", whole.astype(np.str_) if whole.dtype == object else whole, at, axis=0)


def label_type(classes: Any) -> Any:
    """The type of a variable that holds such classes."""
    return StringTensorType([None]) if np.asarray(classes).dtype.kind in "OUS" else Int64TensorType([None])


def real_type(inputs: list[Any]) -> Any:
    """Returns the type of variables that hold reals, behind these inputs."""
    return DoubleTensorType if any(isinstance(each.type, DoubleTensorType) for each in inputs) else FloatTensorType
