"""The manifest: what a release signer signs about one version of a model.

It is the `custom` field of a TUF target. Canonical JSON knows no floats, so fractions are decimal strings.
Refuses to know which device runs what: that is the desired document.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from contract.blobs import Blob
from contract.wire import Message

Positive = Annotated[int, msgspec.Meta(ge=1)]

MAX_CLASSES = 256
MAX_CLASSES_CHARS = 4096
"""Characters of all class names together: every device with the model receives them with each version."""
MAX_STREAMS = 4096
"""Streams of which a device may keep state: it holds all of them in memory."""
DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "str",
}
"""Open Inference Protocol datatype to numpy's name for it."""


class Tensor(Message, frozen=True):
    """One input or output; a dynamic dimension is -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...] = ()
    """Names of the dynamic dimensions, in the order of `shape`; "" for one without a name. One name has one size in a
    request. Empty: no dimension has a name."""


class Golden(Message, frozen=True):
    """Inputs and the answers recorded at conversion, with the tolerance for a device's answers."""

    blob: Blob
    rows: Positive
    rtol: Decimal
    atol: Decimal
    """The absolute tolerance of an output for which the golden set has none. For numbers the golden set has one for
    each column, derived from how much the column varies over the sample."""
    max_row_mismatch_ratio: Decimal
    """The fraction of rows that may miss the tolerance or answer another label."""


class ModelLimits(Message, frozen=True):
    """The most time and memory that the version may take on a device."""

    memory_mb: Positive
    """The address space of the probe child beyond that of an idle runtime, in MB."""
    load_s: Positive


class Runtime(Message, frozen=True):
    """The versions that the device's runtime must understand."""

    ir: Positive
    opset: Positive
    ml_opset: Positive


class Variant(Message, frozen=True):
    """The same version in another form, for devices on which the first one does not fit."""

    name: str
    """The way in which it was made: `fp16` or `int8`."""
    artifact: Blob
    golden: Golden
    runtime: Runtime
    limits: ModelLimits


class Stage(Message, frozen=True):
    """One of two models in a row that are one artifact: the model that was pushed, and the source of its inputs."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    sha256: str
    """The digest of the model as it was pushed."""
    feeds: tuple[tuple[str, str], ...] = ()
    """(input, the output of the first model that it is); of the first model nothing."""


MAX_BEGINS_BYTES = 8 * 1024
"""Of one state's beginning: it travels with each desired document, which may have 64 KiB."""


class StateTensor(Message, frozen=True):
    """One tensor that a device keeps between two requests of a stream: an output that is the next input."""

    input: str
    output: str
    datatype: str
    shape: Annotated[tuple[Positive, ...], msgspec.Meta(max_length=8)]
    """The shape for one stream: a dynamic dimension is 1 here."""
    initial: Decimal = Decimal(0)
    """The number that fills it before the first request."""
    begins: Annotated[bytes, msgspec.Meta(max_length=MAX_BEGINS_BYTES)] = b""
    """What it holds before the first request instead, row-major and little-endian; empty: `initial` everywhere."""


class StateRules(Message, frozen=True):
    """What a device keeps for each stream of requests, and when a stream starts again."""

    tensors: Annotated[tuple[StateTensor, ...], msgspec.Meta(min_length=1, max_length=8)]
    reset_after_s: Decimal = Decimal(0)
    """A stream whose last request is longer ago starts again; 0: never for this reason."""
    max_keys: Annotated[int, msgspec.Meta(ge=1, le=MAX_STREAMS)] = 64
    """Streams that are kept at the same time; after that the least recently used one is deleted."""


class Manifest(Message, frozen=True):
    """Signed description of one version: artifact, signature of inputs and outputs, limits, golden set."""

    release: Positive
    artifact: Blob
    golden: Golden
    task: Literal["classification", "regression", "other"]
    inputs: tuple[Tensor, ...]
    """The inputs that a caller sends, without the state."""
    outputs: tuple[Tensor, ...]
    """The outputs that a caller gets."""
    columns: tuple[str, ...]
    """Feature names in the order of a single matrix input; for one input per column, the inputs' names."""
    hardware: tuple[str, ...]
    """Machine types (`platform.machine()`) that the version is released for."""
    runtime: Runtime
    limits: ModelLimits
    nan: Literal["accept", "refuse"] = "accept"
    """What a missing number (NaN) in a request means; the estimator was tested at conversion. Trees and imputers accept
    it, most others would answer nonsense."""
    required: tuple[str, ...] = ()
    """Columns of numbers that no row may lack although `nan` is accept: the estimator answers only if they are
    present."""
    missing_text: tuple[tuple[str, str], ...] = ()
    """(column, the text that replaces a missing one in the model's input). A row that lacks the text of any other
    column is refused."""
    groups: Annotated[tuple[str, ...], msgspec.Meta(max_length=4)] = ()
    """Columns of a row, inputs or not, by whose values devices count answers, so that fairness between groups can be
    watched."""
    positive: str = ""
    """The label that counts as selected, if groups are counted."""
    classes: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CLASSES)] = ()
    """All classes that a classifier can answer, as text. Empty: unknown, or more than a signed document should name."""
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(max_length=2)] = ()
    """The two models that the artifact joins, in the order in which they run. Empty: it is one model."""
    state: StateRules | None = None
    """What the device keeps between requests; None: every request stands alone."""
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(max_length=4)] = ()
    """Other forms, in order of preference after the one in the fields above."""

    @property
    def session_inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the runtime: those of the caller, and the state."""
        kept = self.state.tensors if self.state is not None else ()
        return (*self.inputs, *(Tensor(name=each.input, datatype=each.datatype, shape=each.shape) for each in kept))

    @property
    def session_outputs(self) -> tuple[Tensor, ...]:
        """The outputs of the runtime, in order: those for the caller, then the state."""
        kept = self.state.tensors if self.state is not None else ()
        return (*self.outputs, *(Tensor(name=each.output, datatype=each.datatype, shape=each.shape) for each in kept))

    @property
    def forms(self) -> tuple["Manifest", ...]:
        """The version in each of its forms, in order of preference, each as a manifest without variants."""
        alone = msgspec.structs.replace(self, variants=())
        return (alone, *(_in_form(alone, variant) for variant in self.variants))

    def form(self, sha256: str) -> "Manifest | None":
        """The form whose artifact has this digest."""
        return next((form for form in self.forms if form.artifact.sha256 == sha256), None)


def _in_form(manifest: Manifest, variant: Variant) -> Manifest:
    return msgspec.structs.replace(
        manifest,
        artifact=variant.artifact,
        golden=variant.golden,
        runtime=variant.runtime,
        limits=variant.limits,
    )
