"""What `decide` may know about a device, and what devices measured since the rollout began."""

from dataclasses import dataclass

import msgspec

from contract.histogram import merge
from contract.messages import ModelState, ModelWindow
from controller.fleet.twin import Assigned, PresenceWord


@dataclass(frozen=True, slots=True)
class Sums:
    """Inferences of one release on one device, or on several added up."""

    inferences: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    latency_us: tuple[int, ...] = ()

    def plus(self, other: "Sums | ModelWindow") -> "Sums":
        """Both together."""
        return Sums(
            self.inferences + other.inferences,
            self.errors + other.errors,
            self.labelled + other.labelled,
            self.correct + other.correct,
            merge((self.latency_us, other.latency_us)),
        )


class DeviceFact(msgspec.Struct, frozen=True):
    """One device, as far as one rollout is concerned."""

    device: str
    presence: PresenceWord
    assigned: Assigned | None
    state: ModelState | None
    sums: dict[int, Sums] = {}
    """Since the rollout began, by release."""
