"""The measurements of a model as if it were a version, made by the controller without registering it."""

from edgeward.answers.answer import Answer


class ProbedOn(Answer, frozen=True):
    """The measurements of a candidate on a device, or why there are none."""

    device: str
    code: str
    """Empty if it succeeded."""
    detail: str
    latency_us_p50: float = 0.0
    """The median latency of one row."""
    load_ms: float = 0.0
    memory_mb: float = 0.0
    """Resident memory that loading and running took."""
    sandbox: str = ""


class Tried(Answer, frozen=True):
    """A model that was converted, judged and measured, on the controller's machine with one thread."""

    task: str
    estimator: str
    passed: bool
    """Whether the converted form answers as the estimator did: the parity gate."""
    detail: str
    digest: str
    size_bytes: int
    latency_us_p50: float
    latency_us_p95: float
    """The latency of one row."""
    load_s: float
    load_mb: float
    operators: tuple[str, ...]
    on: ProbedOn | None = None
    """The measurements of a device, if one was requested."""
