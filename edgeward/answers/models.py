"""Models, their versions with the evidence, and what devices captured of their inferences."""

from datetime import UTC, datetime
from typing import Literal

from edgeward.answers.answer import Answer, Plain, Time
from edgeward.answers.blob import Blob
from edgeward.answers.devices import Metric


class Model(Answer, frozen=True):
    """One model."""

    name: str
    versions: int
    newest_release: int
    newest_passed: int | None
    """None while no version has passed its gates."""
    devices: int


class Gate(Answer, frozen=True):
    """What one gate says about one version, with the numbers behind it."""

    gate: str
    passed: bool
    detail: str


class Version(Answer, frozen=True):
    """One version of a model."""

    model: str
    release: int
    passed: bool
    """Whether every gate has passed."""
    digest: str
    size_bytes: int
    task: str
    estimator: str
    created_at: Time
    created_by: str
    gates: tuple[Gate, ...]
    withdrawn: "Withdrawal | None"
    """By whom, when and why it was withdrawn; None for a version that may be rolled out."""
    devices: tuple[str, ...]
    """Devices that have it, the first 50."""


class Withdrawal(Answer, frozen=True):
    """Who has withdrawn a version, when, and why."""

    by: str
    at: Time
    reason: str


class Lineage(Answer, frozen=True):
    """Where a version came from."""

    created_at: Time
    created_by: str
    source: str
    source_sha256: str
    estimator: str = ""
    params: Plain = {}
    libraries: dict[str, str] = {}
    tags: dict[str, str] = {}


class VersionDelivery(Answer, frozen=True):
    """An artifact in fewer bytes: the encoding, and the digest of the artifact that it is a change to, if any."""

    encoding: str
    blob: Blob
    base: str = ""


class VersionDetail(Version, frozen=True):
    """One version with everything that is known about it."""

    manifest: Plain
    """What a release signer vouches for, as `contract.manifest.Manifest` describes it."""
    deliveries: tuple[VersionDelivery, ...]
    lineage: Lineage
    evidence: Plain
    """What the conversion measured; the keys differ by converter."""
    measured: "VersionMeasured"
    """What all devices have measured since the controller started, for plots."""

    @property
    def variants(self) -> tuple["VariantEvidence", ...]:
        """The smaller forms that were asked for, those that were left out too."""
        return VersionEvidence.read(self.evidence).variants


class VersionMeasured(Answer, frozen=True):
    """What all devices have measured of one version since the controller started."""

    predictions: dict[str, int] = {}
    """Answers by label; the rarest as `other`."""
    features: dict[str, tuple[int, ...]] = {}
    """Inputs by column: counts per bin of the golden set's reference."""
    outputs: tuple[int, ...] = ()
    """Numbers answered, or a classifier's confidence: counts per bin of the reference."""
    divergence: tuple[int, ...] = ()
    """Rows as a shadow, by how far the answers lay from stable's."""
    metrics: dict[str, Metric] = {}
    """Numbers of applications' own, by name."""


class VariantEvidence(Answer, frozen=True):
    """One smaller form of a version, and whether it answers as the full one does."""

    name: str
    size_bytes: int
    gate: Gate


class VersionEvidence(Answer, frozen=True):
    """The part of a version's evidence whose keys are fixed."""

    variants: tuple[VariantEvidence, ...] = ()


class CapturedRow(Answer, frozen=True):
    """One captured inference: the inputs by column, the answer, and why it was kept."""

    at: float
    """Seconds since 1970 in UTC, by the device's clock; `Capture.at` is the same as a datetime."""
    model: str
    release: int
    why: Literal["sampled", "hard"]
    inputs: dict[str, float | int | bool | str | None]
    value: str | float | None
    confidence: float | None = None
    """The largest probability, in [0, 1]."""
    label: str | float | None = None
    id: str = ""
    """Names the answer on its device, as the application knows it."""
    key: str = ""
    """Who or what the row belongs to."""
    file: str = ""
    """The name of the file that the row came from, of an image."""


class Capture(Answer, frozen=True):
    """One inference that a device kept; `id` grows."""

    id: int
    device: str
    row: CapturedRow

    @property
    def at(self) -> datetime:
        """When the device answered, by its clock."""
        return datetime.fromtimestamp(self.row.at, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row: inputs under their own names, what is about the inference with an underscore before it."""
        (about,) = self.row.table_rows()
        about = {**about, "answer": self.row.id, "id": self.id, "device": self.device, "at": self.at}
        inputs: dict[str, object] = dict(self.row.inputs)
        return [inputs | {f"_{name}": value for name, value in about.items() if name != "inputs"}]
