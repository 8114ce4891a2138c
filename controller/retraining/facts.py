"""The facts about one model on which a retraining decision depends.

Decides nothing. Refuses to know where facts come from.
"""

from dataclasses import dataclass, field

from controller.retraining.model import Proposal, Retraining
from controller.retraining.quality import Cell, Mean


@dataclass(frozen=True, slots=True)
class Facts:
    """One model at one moment. Times are seconds since 1970."""

    model: str
    champion: int
    """The release that serves."""
    champion_at: float
    """When it came into service, or was registered."""
    classifies: bool
    recent: tuple[Cell, ...]
    """The figures of the newest blocks."""
    reference: Mean | None
    """The figures of the first blocks in which the champion served, or of its held-out rows: the better of both."""
    new_labels: int
    """Labels since the champion or the newest attempt came."""
    answers_per_s: float
    """Answers per second of the whole fleet."""
    devices: int
    size_bytes: int
    """Bytes of a version, as a device fetches it."""
    training_s: float
    """Seconds of the newest training; 0: none has ended."""
    past: tuple[Retraining, ...] = ()
    """Every attempt for this model that is kept, oldest first."""
    coming: int = 0
    """A release of an earlier attempt that has passed its gates and whose rollout has not ended; 0: none."""
    moved: str = ""
    """What has moved most in the devices' data, in words; empty: nothing beyond what its past explains."""
    asked: tuple[Proposal, ...] = field(default=())
    """Proposals of people and alerts since the last decision."""
