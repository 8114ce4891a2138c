"""Forbidden content of an ONNX file, as protobuf finds it. The scan must refuse every file in which this module finds
some.

It uses onnx's own classes and not the tables of the scan. A file that protobuf refuses is loaded by no runtime.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from contract.onnx_scan import DOMAINS, MAX_DIMS, MAX_ELEMENTS, MAX_NESTING, MAX_NODES, MAX_TENSORS

_TYPES = (
    "TrainingInfoProto", "FunctionProto", "SparseTensorProto", "DeviceConfigurationProto",
    "NodeDeviceConfigurationProto", "Segment", "Opaque", "SparseTensor",
)  # fmt: skip
_FIELDS = ("external_data", "ref_attr_name", "overload")


def parse(raw: bytes) -> Any:
    """Returns the model, or None if protobuf refuses the bytes."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError:
        return None
    return model


def forbidden(model: Any) -> str:
    """Returns the first forbidden content of the model in words, or an empty text if there is none."""
    nodes = tensors = 0
    for message, graphs in _everything(model, 0):
        if words := _wrong(message):
            return words
        name = message.DESCRIPTOR.name
        nodes += name == "NodeProto"
        tensors += name == "TensorProto"
        if graphs > MAX_NESTING:
            return "graphs too deep"
    return "too many parts" if nodes > MAX_NODES or tensors > MAX_TENSORS else ""


def _wrong(message: Any) -> str:
    name = message.DESCRIPTOR.name
    if name in _TYPES:
        return name
    if len(UnknownFieldSet(message)):
        return f"unknown fields in {name}"
    for held, _ in message.ListFields():
        if held.name in _FIELDS:
            return f"{held.name} in {name}"
    if name in ("NodeProto", "OperatorSetIdProto"):
        domain = message.domain  # bytes where the domain is not valid UTF-8
        if (domain.encode() if isinstance(domain, str) else domain) not in DOMAINS:
            return f"domain {domain!r}"
    if name == "TensorProto":
        return _wrong_tensor(message)
    return ""


def _wrong_tensor(tensor: Any) -> str:
    if tensor.data_location != onnx.TensorProto.DEFAULT:
        return "data_location"
    sizes = list(tensor.dims)
    if len(sizes) > MAX_DIMS or any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
        return "impossible shape"
    return ""


def _everything(message: Message, graphs: int) -> Iterator[tuple[Message, int]]:
    """Yields (message, number of graphs around it) for this message and all messages inside it."""
    graphs += message.DESCRIPTOR.name == "GraphProto"
    yield message, graphs
    for held, value in message.ListFields():
        if held.message_type is not None:
            for inner in value if held.is_repeated else (value,):
                yield from _everything(inner, graphs)
