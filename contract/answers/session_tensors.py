"""The tensors of a model as onnxruntime names them, in the form of a manifest.

Decides which of onnxruntime's types a device can accept. Refuses to know onnxruntime: an entry is any object with
`name`, `type` and `shape`.
"""

from typing import Any

from contract.errors import BadInput, Code
from contract.manifest import Tensor

MAX_DIMENSION_CHARS = 64
_DATATYPE_OF = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
}


def tensor_of(entry: Any) -> Tensor:
    """Returns an input or output of a session as a manifest names it. BadInput `estimator_unsupported`."""
    if entry.type not in _DATATYPE_OF:
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{entry.name} has type {entry.type}, which no device can be fed")
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in entry.shape)
    names = tuple(size[:MAX_DIMENSION_CHARS] if isinstance(size, str) else "" for size in entry.shape)
    dimensions = names if any(names) else ()
    return Tensor(name=entry.name, datatype=_DATATYPE_OF[entry.type], shape=shape, dimensions=dimensions)


def described(tensor: Tensor) -> str:
    """A tensor in words: `image FP32 (n x 3 x 64 x 64)`."""
    return f"{tensor.name} {tensor.datatype} ({' x '.join('n' if size < 0 else str(size) for size in tensor.shape)})"
