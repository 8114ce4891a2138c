"""Margins of a classifier with two classes: one `scores` output that equals scikit-learn's decision_function.

SVC is converted to [s, -s], SGDClassifier to [-s, s] for the same label. Decides by measuring which column is the right
one.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from contract.tensors import Array
from controller.convert.model_file import Model, parse_model

SCORES = "scores"


def as_one_margin(model: Model, expected: Mapping[str, Array], actual: Mapping[str, Array]) -> bytes | None:
    """Returns the model with its second output cut to the expected column; None if no column must be cut.

    `expected` has one margin a row, `actual` has two.
    """
    name = next((name for name, want in expected.items() if want.ndim == 1 and actual[name].shape[1:] == (2,)), None)
    if name is None or expected[name].dtype.kind != "f":
        return None
    away = np.nansum(np.abs(actual[name] - expected[name][:, None]), axis=0)
    return _with_column(parse_model(model), name, int(np.argmin(away)))


def _with_column(model: onnx.ModelProto, name: str, column: int) -> bytes:
    both, index = f"{name}_of_two_classes", f"{name}_column"
    graph = model.graph
    for node in graph.node:
        node.output[:] = [both if output == name else output for output in node.output]
        node.input[:] = [both if given == name else given for given in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array(column, dtype=np.int64), index))
    graph.node.append(helper.make_node("Gather", [both, index], [SCORES], axis=1))
    outputs = list(graph.output)
    del graph.output[:]
    for entry in outputs:
        if entry.name == name:
            kind = entry.type.tensor_type.elem_type
            graph.output.append(helper.make_tensor_value_info(SCORES, kind, [None]))
        else:
            graph.output.append(entry)
    raw: bytes = model.SerializeToString()
    return raw
