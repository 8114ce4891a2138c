"""What a retraining decision may know about one model.

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
    """Of the newest blocks."""
    reference: Mean | None
    """Of the first blocks in which the champion served, or what its held-out rows promised: the better of both."""
    new_labels: int
    """Since the champion or the newest attempt came."""
    answers_per_s: float
    """Of the whole fleet."""
    devices: int
    size_bytes: int
    """Of a version, as a device fetches it."""
    training_s: float
    """Of the newest training; 0: none has ended."""
    past: tuple[Retraining, ...] = ()
    """Every attempt for this model that is kept, oldest first."""
    coming: int = 0
    """A release of an earlier attempt that has passed its gates and whose rollout has not ended; 0: none."""
    moved: str = ""
    """What has moved most in what devices meet, in words; empty: nothing that its own past does not explain."""
    asked: tuple[Proposal, ...] = field(default=())
    """What people and alerts have proposed since the last decision."""
