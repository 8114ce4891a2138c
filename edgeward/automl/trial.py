"""One trial of a search: its pipeline, its score, its measures. Values only."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["measured", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One pipeline that the search has tried."""

    number: int
    family: str
    params: dict[str, Any]
    state: State = "measured"
    """`skipped`: its score was too far below the best to be worth a conversion. `failed`: see `reason`."""
    reason: str = ""
    score: float = 0.0
    """Mean over the folds: accuracy of a classification, R2 of a regression."""
    fold_scores: tuple[float, ...] = ()
    agreement: float | None = None
    """Agreement with the teacher on rows on which neither was fitted: the fraction of equal labels, or R2. None without
    one."""
    size_bytes: int = 0
    latency_us_p50: float = 0.0
    """The median of one row on one thread."""
    latency_us_p95: float = 0.0
    """0 where a device has measured: its probe takes the median."""
    load_mb: float = 0.0
    device: str = ""
    """The device that has measured latency and memory; empty: the controller's machine."""
    digest: str = ""
    """SHA-256 of the ONNX form."""
    run: str = ""
    """The id of the run that recorded it."""
    pipeline: Any = field(default=None, repr=False, compare=False)
    """The pipeline, fitted on all rows; None if the trial was not measured."""
