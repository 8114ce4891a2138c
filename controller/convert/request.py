"""The input and output files of the conversion child in one scratch directory."""

from typing import Any, Literal

from contract.errors import Code
from contract.manifest import Stage, Tensor
from contract.wire import Message
from controller.gates.parity import Parity
from controller.gates.variant import Shrunk

REQUEST = "request.json"
SAMPLE = "sample.npz"
ANSWER = "answer.json"
FAULT = "fault.json"
MODEL_OUT = "model.onnx"
GOLDEN = "golden.npz"

MAX_ANSWER_MB = 4
"""Size limit of the child's answer: parameters are cut to 200 characters, worst rows to five."""


def form_files(name: str) -> tuple[str, str]:
    """Returns the file names of a form's model and golden set; "" is the full form."""
    return (f"{name}-{MODEL_OUT}", f"{name}-{GOLDEN}") if name else (MODEL_OUT, GOLDEN)


ModelKind = Literal["skops", "onnx", "stages"]
"""What was pushed: an estimator, an ONNX file, or two models in a row (`contract.stages`)."""
VariantName = Literal["fp16", "int8"]


class Request(Message, frozen=True):
    """The task of the child, and its limits."""

    kind: ModelKind
    model: str
    """The path of the model's file, which the child may read but not write."""
    trusted_types: tuple[str, ...] = ()
    memory_mb: int = 4096
    cpu_s: int = 3600
    variants: tuple[VariantName, ...] = ()
    """The smaller forms that it must also make."""
    require_sandbox: bool = True
    precision_s: float = 60.0
    """The time of each precision that is tried."""
    rows_waived: bool = False
    """Whether few distinct rows of the sample are enough, because a reason was given."""


class ConvertedForm(Message, frozen=True):
    """The requirements of one form of the model."""

    golden_rows: int
    ir: int
    opset: int
    ml_opset: int
    load_s: float = 0.0
    load_mb: float = 0.0
    """Seconds and MiB, measured afterwards by a process that has read only the model."""


class Measured(Message, frozen=True):
    """The cost of loading a model, or why loading failed."""

    load_s: float = 0.0
    load_mb: float = 0.0
    fault: str = ""


class Conversion(Message, frozen=True):
    """The measurements of the child; the models and golden sets are files in the same directory."""

    task: Literal["classification", "regression", "other"]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[str, ...]
    form: ConvertedForm
    parity: Parity
    as_pushed: bool = False
    """Whether the full form is the pushed file itself, so that no other was written."""
    stages: tuple[Stage, ...] = ()
    """The two models that the form joins; empty for one."""
    variants: dict[str, ConvertedForm] = {}
    """The smaller forms that were made."""
    shrunk: tuple[Shrunk, ...] = ()
    """Evidence about the smaller forms that were requested."""
    nan: Literal["accept", "refuse"] = "accept"
    required: tuple[str, ...] = ()
    """Columns of numbers that no row may lack although others may be missing."""
    missing_text: tuple[tuple[str, str], ...] = ()
    """(column, the text that replaces a missing one)."""
    classes: tuple[str, ...] = ()
    """All classes that a classifier can answer, as text; empty: unknown."""
    estimator: str = ""
    params: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    sandbox: str = ""
    """The extent to which the conversion was confined, in words."""


class Fault(Message, frozen=True):
    """The reason why the conversion failed."""

    code: Code
    detail: str
