"""Registers one of Edgeward's own converters in place of skl2onnx's, or before it.

Decides what outputs an estimator has in ONNX: reals, a label, or a label and reals. Refuses to know the mathematics,
and which estimators there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx._supported_operators import _get_sklearn_operator_name
from skl2onnx.common import _registration
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType
from sklearn.base import ClassifierMixin

from controller.convert.own.graph import Graph, label_type, real_type

Convert = Callable[[Graph, Any, list[Any]], list[str]]
"""(graph, estimator, inputs) to the names of the results, in the order of the outputs."""
_OPTIONS = {"zipmap": [True, False], "raw_scores": [True, False], "output_class_labels": [False]}


@dataclass(frozen=True, slots=True)
class Own:
    """A converter."""

    convert: Convert
    width: Callable[[Any], int | None] = lambda _: None
    """The width of its reals."""
    outputs: str = "reals"
    """Its outputs: `reals`, `whole numbers`, `label`, `label and reals`, or `label and votes`: whole numbers."""
    parser: Any = None
    """The function that declares its outputs, if they are more than one operator."""


def register(kind: type, own: Own) -> None:
    """Replaces skl2onnx's converter by this one. Calling it again changes nothing."""
    classifies = own.outputs == "label and reals" and issubclass(kind, ClassifierMixin)
    update_registered_converter(
        kind,
        f"Edgeward{kind.__name__}",
        lambda operator: _shapes(operator, own),
        lambda scope, operator, container: _write(scope, operator, container, own.convert),
        options=_OPTIONS if classifies else None,
        parser=own.parser or (None if own.outputs.startswith("label") else _one_output),
    )


def register_operator(operator: str, own: Own) -> None:
    """Adds an operator that one of Edgeward's parsers declares."""
    _registration._shape_calculator_pool[operator] = lambda declared: _shapes(declared, own)

    def written(scope: Any, declared: Any, container: Any) -> None:
        _write(scope, declared, container, own.convert)

    _registration._converter_pool[operator] = _registration.RegisteredConverter(written, _OPTIONS)


def register_before(operator: str, takes: Callable[[Any, list[Any]], bool], convert: Convert) -> None:
    """Puts a converter before skl2onnx's own one of `operator`, which is used if `takes` is false."""
    registered, shapes = _registration._converter_pool[operator], _registration._shape_calculator_pool[operator]
    before, shapes_before = _BEFORE.setdefault(operator, (registered._fct, shapes))

    def shaped(operator: Any) -> None:
        try:
            shapes_before(operator)
        except RuntimeError:  # it refuses what this converter accepts
            if not takes(operator.raw_operator, operator.inputs):
                raise
            widths = [variable.type.shape[1] for variable in operator.inputs]
            operator.outputs[0].type = real_type(operator.inputs)([None, None if None in widths else sum(widths)])

    def chosen(scope: Any, operator: Any, container: Any) -> None:
        if takes(operator.raw_operator, operator.inputs):
            _write(scope, operator, container, convert)
        else:
            before(scope, operator, container)

    _registration._converter_pool[operator] = _registration.RegisteredConverter(chosen, registered._options)
    _registration._shape_calculator_pool[operator] = shaped


_BEFORE: dict[str, tuple[Any, Any]] = {}
"""skl2onnx's own converters and calculators of shapes, by operator."""


def _one_output(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declares an estimator with one output of reals, even if its base classes declare others."""
    operator = scope.declare_local_operator(_get_sklearn_operator_name(type(model)), model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", real_type(inputs)([None, None])))
    return list(operator.outputs)


def _shapes(operator: Any, own: Own) -> None:
    model, outputs = operator.raw_operator, operator.outputs
    if own.outputs.startswith("label"):
        classes = getattr(model, "classes_", None)
        outputs[0].type = Int64TensorType([None]) if classes is None else label_type(classes)
    if own.outputs != "label":
        kind = Int64TensorType if own.outputs in ("label and votes", "whole numbers") else real_type(operator.inputs)
        outputs[-1].type = kind([None, own.width(model)])


def _write(scope: Any, operator: Any, container: Any, convert: Convert) -> None:
    graph = Graph(scope, container, operator.inputs)
    made = convert(graph, operator.raw_operator, operator.inputs)
    for name, output in zip(made, operator.outputs, strict=True):
        kind = {FloatTensorType: 1, DoubleTensorType: 11}.get(type(output.type))
        graph.bind(name if kind is None else graph.cast(name, kind), output.full_name)
