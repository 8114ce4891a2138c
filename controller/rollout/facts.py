"""What `decide` may know: about each device, and what devices measured since the rollout began."""

import msgspec

from contract.histogram import merge
from contract.messages import ModelInterval, ModelState
from controller.fleet.twin import Assigned, PresenceWord

BUCKET_S = 60.0
"""Two sides are compared within such stretches of time: what happens to the world then happens to both."""
MAX_BUCKETS = 1440
"""The newest that are kept: a day."""


class Sums(msgspec.Struct, frozen=True):
    """Inferences of one release, on one device or on several added up."""

    inferences: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    latency_counts: tuple[int, ...] = ()
    compared: int = 0
    agreed: int = 0

    def plus(self, other: "Sums | ModelInterval") -> "Sums":
        """The sum of both."""
        return Sums(
            self.inferences + other.inferences,
            self.errors + other.errors,
            self.labelled + other.labelled,
            self.correct + other.correct,
            merge((self.latency_counts, other.latency_counts)),
            self.compared + other.compared,
            self.agreed + other.agreed,
        )


class Cell(msgspec.Struct, frozen=True):
    """One stratum in one stretch of time: the release, and whatever else ran there then."""

    treated: Sums = Sums()
    control: Sums = Sums()

    def plus(self, interval: ModelInterval, release: int) -> "Cell":
        """This cell with what one device has measured."""
        if interval.version.release == release:
            return Cell(self.treated.plus(interval), self.control)
        return Cell(self.treated, self.control.plus(interval))


Cells = dict[tuple[str, int], Cell]
"""By (stratum, number of the bucket since 1970)."""


class DeviceFact(msgspec.Struct, frozen=True):
    """One device, as far as one rollout is concerned."""

    device: str
    presence: PresenceWord
    assigned: Assigned | None
    state: ModelState | None
    retired: bool = False
    """Whether it has left the fleet."""
