"""What the update machine knows: the durable record and the phases around it.

A `Record` is all that survives power loss. Everything else is volatile: after a power cut the machine starts with
`resume(record, now)`.
"""

from enum import StrEnum

import msgspec

from contract.blobs import Blob
from contract.desired import Delivery, TrialPolicy
from contract.manifest import Manifest
from contract.messages import UpdateOutcome, VersionRef
from contract.wire import Message


class Verdict(StrEnum):
    """The verdict on a version from its judged inferences."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Judgement(msgspec.Struct, frozen=True):
    """A verdict; for a failure, or a fault of the device, also the code and the numbers that show it."""

    verdict: Verdict
    code: str = ""
    detail: str = ""


class Baseline(Message, frozen=True):
    """The measurements of stable in its newest inferences; the next trial is compared with them."""

    labelled: int = 0
    correct: int = 0
    """Answers of a classifier that equal their label."""
    inferences: int = 0
    errors: int = 0
    row_latency_counts: tuple[int, ...] = ()
    """Inferences per bucket of contract.histogram, by their time for a row."""
    measured: int = 0
    """Numbers of a regression that have a label."""
    absolute_error_sum: float = 0.0
    squared_error_sum: float = 0.0
    squared_label_sum: float = 0.0

    @property
    def truths(self) -> int:
        """Answers that could be compared with a label."""
        return self.labelled + self.measured

    def with_truths_of(self, other: "Baseline") -> "Baseline":
        """This baseline with the label counts of `other`."""
        return msgspec.structs.replace(
            self,
            labelled=other.labelled,
            correct=other.correct,
            measured=other.measured,
            absolute_error_sum=other.absolute_error_sum,
            squared_error_sum=other.squared_error_sum,
            squared_label_sum=other.squared_label_sum,
        )


def yardstick(newer: Baseline | None, older: Baseline | None, min_truths: int) -> Baseline | None:
    """Returns the newer measurements, with the label counts of the older ones if the newer have fewer than
    `min_truths`.
    """
    if newer is None or older is None:
        return newer or older
    return newer if newer.truths >= min_truths else newer.with_truths_of(older)


class Assignment(Message, frozen=True):
    """A version that this device must run: its sources, its identity, and how to judge it."""

    model: str
    generation: int
    manifest: Manifest
    policy: TrialPolicy
    delivery: Delivery | None = None
    """An encoded form of the artifact with fewer bytes."""
    sources: tuple[str, ...] = ()
    """The addresses from which its blobs may be fetched besides the broker, in order of preference."""

    @property
    def digest(self) -> str:
        """Names the artifact, and with it the version."""
        return self.manifest.artifact.sha256

    @property
    def ref(self) -> VersionRef:
        """The version as messages name it."""
        return VersionRef(release=self.manifest.release, digest=self.digest)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """The blobs that must be on disk before a probe: the golden set, then the artifact."""
        return (self.manifest.golden.blob, self.manifest.artifact)


class Record(Message, frozen=True):
    """The durable part of the state of one model."""

    generation: int = 0
    """Newest generation that was decided; the machine ignores an older or equal one."""
    stable: Assignment | None = None
    trial: Assignment | None = None
    trial_boots: int = 0
    baseline: Baseline | None = None
    """The measurements of stable. Durable, so that a trial after a reboot is judged by the same baseline."""
    outcome: UpdateOutcome | None = None

    @property
    def kept_digests(self) -> tuple[str, ...]:
        """Digests of the blobs that pruning must not delete."""
        kept = (each for each in (self.stable, self.trial) if each is not None)
        return tuple(blob.sha256 for each in kept for blob in each.blobs)


class Steady(msgspec.Struct, frozen=True):
    """Stable serves; no update runs."""

    record: Record
    repaired: bool = False
    """Stable has been fetched again once since boot; a second break waits for a new generation."""


class Fetching(msgspec.Struct, frozen=True):
    """Blobs of `assignment` are being fetched; stable serves."""

    record: Record
    assignment: Assignment
    attempt: int = 0
    retry_at: float | None = None


class Probing(msgspec.Struct, frozen=True):
    """A child process tests `assignment`; stable serves."""

    record: Record
    assignment: Assignment
    give_up_at: float


class Ready(msgspec.Struct, frozen=True):
    """`assignment` is on disk and probed; it waits for its trial. The versions that ran continue, also a shadow
    that is promoted.
    """

    record: Record
    assignment: Assignment
    since: float
    retry_at: float | None = None
    code: str = ""


class Trial(msgspec.Struct, frozen=True):
    """The trial serves; stable waits on disk."""

    record: Record
    soak_until: float
    give_up_at: float
    verdict: Verdict = Verdict.INCONCLUSIVE
    measured: Baseline | None = None
    code: str = ""
    """Why the trial cannot be judged, if that is known: the device is sick."""
    detail: str = ""


State = Steady | Fetching | Probing | Ready | Trial
