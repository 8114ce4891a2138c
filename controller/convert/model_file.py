"""A model as bytes in memory, or as the file that was pushed, which is read in place.

Decides that a file is mapped to be scanned, and parsed only by code that must change it. Refuses to know what is
changed.
"""

import mmap
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError

from contract.errors import BadInput, Code
from contract.onnx_scan import Scan, scan_onnx
from contract.protocol import MAX_MODEL_BYTES
from controller.convert.memory import near_limit

Model = bytes | Path
"""A file stays unchanged; a changed model is bytes."""


def size_of(model: Model) -> int:
    """Returns the number of bytes."""
    return len(model) if isinstance(model, bytes) else model.stat().st_size


def scan_model(model: Model) -> Scan:
    """Scans a model. BadInput `model_refused` says which forbidden content it holds."""
    if isinstance(model, bytes):
        return scan_onnx(model)
    if not size_of(model):
        return scan_onnx(b"")
    with model.open("rb") as file:
        return scan_onnx(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))


def parse_model(model: Model) -> onnx.ModelProto:
    """Parses a model into memory. MemoryError for lack of memory, where protobuf's own error would blame the file."""
    try:
        return onnx.load_from_string(model if isinstance(model, bytes) else model.read_bytes())
    except DecodeError:
        if near_limit(2 * size_of(model)):
            raise MemoryError from None
        raise


def bytes_of(proto: onnx.ModelProto) -> bytes:
    """Returns a model as the same bytes each time. BadInput `model_refused` for more than protobuf writes; MemoryError.

    The size is not computed before, because protobuf must write the whole model to find it.
    """
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        if near_limit(MAX_MODEL_BYTES):
            raise MemoryError from None
        words = "the model has more than 2 GiB once it is changed: protobuf writes no more, and with it no ONNX file"
        raise BadInput(Code.MODEL_REFUSED, words) from None
