"""Converts a scikit-learn estimator to ONNX bytes, in one of three precisions.

Decides the settings, which docs/adr/0002 measured. Opset 18 and ai.onnx.ml 3 load on every onnxruntime since 1.15. A
fixed graph name keeps the digest stable. Probabilities are an array. Large tree ensembles use ai.onnx.ml 5 (ADR 9).
"""

from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from skl2onnx.sklapi import CastTransformer
from sklearn.base import is_classifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import Pipeline

from contract.errors import BadInput, Code
from controller.convert import options_as_given, tree_writer
from controller.convert.estimator import finds_words_by_default, walk
from controller.convert.graph_names import with_input_names, without_unused_inputs
from controller.convert.model_file import bytes_of
from controller.convert.own import every, selections
from controller.convert.own.registered import Own, register
from controller.convert.remedies import INSTEAD, remedy
from controller.convert.rewritten import KeptColumns, rewritten
from controller.convert.runs import open_session
from controller.convert.sample_frame import SampleFrame
from controller.convert.trees import compact_trees

tree_writer.install()
every.install()
options_as_given.install()
register(KeptColumns, Own(selections.kept_columns, selections.support_kept))

TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}
_TEXT = {vectorizer: {"locale": "C.UTF-8"} for vectorizer in (CountVectorizer, TfidfVectorizer)}
"""A locale for upper and lower case that every system has: onnxruntime's default, en_US, is missing on small
systems."""
WORDS = r"[\p{L}\p{N}_][\p{L}\p{N}_]+"
"""scikit-learn's default pattern of words, in the regular expressions of onnxruntime, whose \\w matches ASCII only."""
Precision = Literal["float32", "float64", "float64 to the last step, which gets float32"]
CAST: Precision = "float64 to the last step, which gets float32"
PRECISIONS: tuple[Precision, ...] = ("float32", "float64", CAST)
"""All precisions, the preferred one first. The third is for trees after a scaler, because scaling in float32 moves rows
across the trees' thresholds."""


def real_dtype(precision: Precision) -> str:
    """Returns the dtype of real inputs: `float32` or `float64`."""
    return "float32" if precision == "float32" else "float64"


def precisions_for(estimator: Any) -> tuple[Precision, ...]:
    """Returns the precisions to try. Gaussian processes need float64; a cast needs a pipeline of two or more steps.

    If neighbours have nearly equal distances, float32 chooses others: float64 is tried first there.
    """
    parts = [type(part).__name__ for _, part in walk(estimator)]
    if any(name.startswith("GaussianProcess") for name in parts):
        return ("float64",)
    if any(name.startswith("KNeighbors") for name in parts):
        return ("float64", "float32")
    plain = rewritten(estimator)
    return PRECISIONS if isinstance(plain, Pipeline) and len(plain.steps) > 1 else PRECISIONS[:2]


def convert(estimator: Any, sample: SampleFrame, precision: Precision) -> bytes:
    """Returns ONNX bytes. BadInput `estimator_unsupported` names the failing step, `conversion_failed` the error."""
    plain = rewritten(estimator)
    model = _with_cast(plain) if precision == CAST else plain
    types = _types(sample, precision)
    try:
        onnx_model = _converted(model, types, _option_sets(plain))
    except (BadInput, MemoryError):
        raise
    except (MissingShapeCalculator, MissingConverter) as error:
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, _blame(estimator, error, sample)) from None
    except Exception as error:  # converters raise the errors of their libraries
        raise BadInput(Code.CONVERSION_FAILED, remedy(estimator, error, sample)) from None
    onnx_model = without_unused_inputs(with_input_names(onnx_model, [name for name, _ in types]))
    if real_dtype(precision) == "float32":
        return _same_bytes(compact_trees(onnx_model))
    return _loadable(onnx_model)


def _option_sets(estimator: Any) -> list[dict[str, bool]]:
    """Returns the options to try, in order: a converter without an option raises an error."""
    if not is_classifier(estimator):
        return [{}]
    margins = hasattr(estimator, "decision_function") and not hasattr(estimator, "predict_proba")
    return [*([{"zipmap": False, "raw_scores": True}, {"raw_scores": True}] if margins else []), {"zipmap": False}, {}]


def _converted(model: Any, types: list[tuple[str, Any]], option_sets: list[dict[str, bool]]) -> onnx.ModelProto:
    """Returns the graph with the first options that the converter has."""
    for options in option_sets:
        try:
            return convert_sklearn(
                model,
                name="model",
                initial_types=types,
                target_opset=TARGET_OPSET,
                options=_TEXT | _tokens(model) | ({id(_last(model)): options} if options else {}),
            )
        except NameError as error:
            if "Option" not in str(error) or options == option_sets[-1]:
                raise
    raise AssertionError("the last options raise their own error")


def _tokens(model: Any) -> dict[int, dict[str, str]]:
    """Returns options of the vectorizers that find words by scikit-learn's default pattern."""
    return {
        id(part): {"locale": "C.UTF-8", "tokenexp": WORDS} for _, part in walk(model) if finds_words_by_default(part)
    }


def _last(estimator: Any) -> Any:
    """Returns the last step of a pipeline, inside any nesting: some converters refuse options that a pipeline passes
    on.
    """
    return _last(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def _same_bytes(model: onnx.ModelProto) -> bytes:
    """Returns a model as the same bytes each time: skl2onnx names operator sets in the order of a set."""
    opsets = sorted({(entry.domain, entry.version) for entry in model.opset_import})
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    return bytes_of(model)


def _loadable(model: onnx.ModelProto) -> bytes:
    """Returns the first form of a double model that onnxruntime loads; BadInput `conversion_failed` if none does.

    After an ensemble skl2onnx continues in double in some places and in float in others, and onnx does not infer which.
    """
    fault: BadInput | None = None
    for unknown in (TensorProto.DOUBLE, TensorProto.FLOAT):
        raw = _same_bytes(compact_trees(model, unknown))
        try:
            open_session(raw)
        except BadInput as error:
            fault = fault or error
        else:
            return raw
    assert fault is not None
    raise fault


def _with_cast(pipeline: Pipeline) -> Pipeline:
    head, last = pipeline.steps[:-1], pipeline.steps[-1]
    return Pipeline([*head, ("edgeward_cast", CastTransformer(dtype=np.float32).fit(np.zeros((1, 1)))), last])


def _types(sample: SampleFrame, precision: Precision) -> list[tuple[str, Any]]:
    arrays = sample.arrays(real_dtype(precision))
    return [(name, _type(array)) for name, array in arrays.items()]


def _type(array: Any) -> Any:
    shape = [None, array.shape[1]]
    if array.dtype == np.float64:
        return DoubleTensorType(shape)
    if array.dtype == np.float32:
        return FloatTensorType(shape)
    return Int64TensorType(shape) if array.dtype == np.int64 else StringTensorType(shape)


def _blame(estimator: Any, error: Exception, sample: SampleFrame) -> str:
    said = str(error)
    for path, part in walk(estimator):
        if f"{type(part).__module__}.{type(part).__name__}'" in said:
            name = type(part).__name__
            return (
                f"{path} ({name}) cannot be converted to ONNX: {INSTEAD.get(name, 'replace this step')}, or push ONNX"
            )
    return remedy(estimator, error, sample)
