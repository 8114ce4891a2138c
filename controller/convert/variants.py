"""Smaller forms of a converted model: weights in half of the bytes (fp16) or in a quarter (int8).

fp16 keeps the arithmetic: weights are cast back at load, on any runtime, at the same speed. int8 multiplies integers:
it is a quarter of the size, and faster from one megabyte on. Trees have no weights to shrink. Refuses to know whether a
form is good enough.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from controller.convert.model_file import Model, bytes_of, parse_model, size_of

WORTH_IT = 0.9
"""A smaller form is kept only up to this fraction of the model's size."""
MIN_VALUES = 256
"""The number of values below which a tensor is not converted, because the cast would cost more than it saves."""


def make_variant(model: Model, name: str) -> bytes | None:
    """Returns the model in the form `name`; None if that saves too little. KeyError for an unknown form."""
    made = MAKERS[name](model)
    return made if len(made) < WORTH_IT * size_of(model) else None


def _half_weights(model: Model) -> bytes:
    proto = parse_model(model)
    casts, outputs = [], {output.name for output in proto.graph.output}
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < MIN_VALUES or tensor.name in outputs or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return bytes_of(proto)


def _dynamic_int8(model: Model) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "in.onnx", Path(scratch) / "out.onnx"
        source.write_bytes(model if isinstance(model, bytes) else model.read_bytes())  # it writes beside its source
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        return target.read_bytes()


MAKERS: dict[str, Callable[[Model], bytes]] = {"fp16": _half_weights, "int8": _dynamic_int8}
