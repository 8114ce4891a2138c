"""What goes into the conversion child and what comes out: files in one scratch directory."""

from typing import Any, Literal

from contract.manifest import Tensor
from contract.wire import Message
from controller.gates.parity import Parity

REQUEST = "request.json"
MODEL_IN = "model.in"
SAMPLE = "sample.npz"
ANSWER = "answer.json"
FAULT = "fault.json"
MODEL_OUT = "model.onnx"
GOLDEN = "golden.npz"


class Request(Message, frozen=True):
    """What to convert."""

    kind: Literal["skops", "onnx"]
    trusted_types: tuple[str, ...] = ()
    memory_mb: int = 4096


class Answer(Message, frozen=True):
    """What the child found out; the bytes lie beside it."""

    task: Literal["classification", "regression", "other"]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[str, ...]
    golden_rows: int
    ir: int
    opset: int
    ml_opset: int
    load_s: float
    load_mb: float
    parity: Parity
    nan: Literal["accept", "refuse"] = "accept"
    estimator: str = ""
    params: dict[str, Any] = {}
    libraries: dict[str, str] = {}


class Fault(Message, frozen=True):
    """Why it did not work."""

    code: str
    detail: str
