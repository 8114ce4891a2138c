"""What goes into the conversion child and what comes out: files in one scratch directory."""

from typing import Any, Literal

from contract.errors import Code
from contract.manifest import Tensor
from contract.wire import Message
from controller.gates.parity import Parity
from controller.gates.variant import Shrunk

REQUEST = "request.json"
MODEL_IN = "model.in"
SAMPLE = "sample.npz"
ANSWER = "answer.json"
FAULT = "fault.json"
MODEL_OUT = "model.onnx"
GOLDEN = "golden.npz"

MAX_ANSWER_MB = 4
"""Of what a child says about a model: parameters are cut to 200 characters, rows to five."""


def form_files(name: str) -> tuple[str, str]:
    """Where the model and the golden set of a form lie; "" is the full one."""
    return (f"{name}-{MODEL_OUT}", f"{name}-{GOLDEN}") if name else (MODEL_OUT, GOLDEN)


VariantName = Literal["fp16", "int8"]


class Request(Message, frozen=True):
    """What the child is to convert."""

    kind: Literal["skops", "onnx"]
    trusted_types: tuple[str, ...] = ()
    memory_mb: int = 4096
    cpu_s: int = 3600
    variants: tuple[VariantName, ...] = ()
    """Smaller forms to make as well."""
    require_sandbox: bool = True


class ConvertedForm(Message, frozen=True):
    """What one form of the model asks of a device."""

    golden_rows: int
    ir: int
    opset: int
    ml_opset: int
    load_s: float = 0.0
    load_mb: float = 0.0
    """Both measured afterwards, by a process that has seen nothing but the model."""


class Measured(Message, frozen=True):
    """What loading cost, or why it failed."""

    load_s: float = 0.0
    load_mb: float = 0.0
    fault: str = ""


class Conversion(Message, frozen=True):
    """What the child has measured; the bytes lie beside it."""

    task: Literal["classification", "regression", "other"]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[str, ...]
    form: ConvertedForm
    parity: Parity
    variants: dict[str, ConvertedForm] = {}
    """Smaller forms that were made."""
    shrunk: tuple[Shrunk, ...] = ()
    """Evidence about the smaller forms that were asked for."""
    nan: Literal["accept", "refuse"] = "accept"
    required: tuple[str, ...] = ()
    """Columns of numbers that no row may lack although others may."""
    missing_text: tuple[tuple[str, str], ...] = ()
    """(column, the text that stands for a missing one)."""
    estimator: str = ""
    params: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    sandbox: str = ""
    """How far the conversion was confined."""


class Fault(Message, frozen=True):
    """Why the conversion failed."""

    code: Code
    detail: str
