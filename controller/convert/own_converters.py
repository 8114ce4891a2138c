"""Converters of Edgeward's own, for estimators whose mathematics is small and skl2onnx's form is missing or wrong.

Decides how each is written in plain operators, which work in float32 and in float64. Where an estimator has parameters
that are not covered here, skl2onnx's own converter goes on. Refuses to know when they are used.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common import _registration
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

_IMPUTER = "SklearnSimpleImputer"
_Converter = Callable[[Any, Any, Any], None]


def install() -> None:
    """Puts the converters of this module in the place of skl2onnx's. Calling it again changes nothing."""
    registered = _registration._converter_pool[_IMPUTER]
    if registered._fct is not _impute:
        _BEFORE.setdefault(_IMPUTER, registered._fct)
        _registration._converter_pool[_IMPUTER] = _registration.RegisteredConverter(_impute, registered._options)


_BEFORE: dict[str, _Converter] = {}
"""skl2onnx's own converters, by operator."""


def _impute(scope: Any, operator: Any, container: Any) -> None:
    """A SimpleImputer of real numbers: onnxruntime has its operator for float32 alone."""
    imputer = operator.raw_operator
    real = isinstance(operator.inputs[0].type, (FloatTensorType, DoubleTensorType))
    is_nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    plain = real and is_nan and not imputer.add_indicator and len(operator.inputs) == 1
    if not plain or imputer.statistics_.dtype.kind != "f" or np.isnan(imputer.statistics_).any():
        _BEFORE[_IMPUTER](scope, operator, container)
        return
    kind = TensorProto.DOUBLE if isinstance(operator.inputs[0].type, DoubleTensorType) else TensorProto.FLOAT
    given = operator.inputs[0].full_name
    fill, lacks = scope.get_unique_variable_name("fill"), scope.get_unique_variable_name("lacks")
    container.add_initializer(fill, kind, [1, len(imputer.statistics_)], imputer.statistics_.tolist())
    container.add_node("IsNaN", [given], [lacks], name=scope.get_unique_operator_name("IsNaN"), op_version=13)
    container.add_node(
        "Where", [lacks, fill, given], [operator.outputs[0].full_name],
        name=scope.get_unique_operator_name("Where"), op_version=9,
    )  # fmt: skip
