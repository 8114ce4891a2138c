"""Models, their versions with the evidence, and inferences that devices captured."""

from datetime import UTC, datetime
from typing import Literal

from edgeward.answers.answer import Answer, Plain, Time
from edgeward.answers.blob import Blob
from edgeward.answers.devices import Metric
from edgeward.answers.written import Written


class Model(Answer, frozen=True):
    """One model."""

    name: str
    versions: int
    newest_release: int
    newest_passed: int | None
    """None while no version has passed its gates."""
    devices: int


class Waiver(Answer, frozen=True):
    """The person, time and reason of a waiver, by which a version passes although a gate has failed."""

    by: str
    at: Time
    reason: str


class Gate(Answer, frozen=True):
    """The verdict of one gate on one version, with the numbers behind it."""

    gate: str
    passed: bool
    detail: str
    evidence: dict[str, float] = {}
    power: str = ""
    """What the gate detects, and with which probability."""
    remedy: str = ""
    judged_by: str = "controller"
    waiver: Waiver | None = None


class GatePolicy(Answer, frozen=True):
    """Limits that versions of a model must keep to before release; configs/gates/example.toml describes them."""

    max_size_bytes: int | None = None
    max_latency_us_p95: float | None = None
    max_memory_mb: float | None = None
    held_out: Plain = {}
    slices: Plain = {}
    fairness: Plain = {}
    same_signature: bool = False
    licences: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


class Withdrawal(Answer, frozen=True):
    """The person, time and reason of a withdrawal."""

    by: str
    at: Time
    reason: str


class RolledBack(Answer, frozen=True):
    """The rollout of a version that was rolled back, and why."""

    rollout: str
    reason: str


class Removal(Answer, frozen=True):
    """The person and time of a deletion of a version's blobs."""

    by: str
    at: Time


class FoundVersion(Answer, frozen=True):
    """One version in the answer to a search."""

    model: str
    release: int
    semver: str
    passed: bool
    """Whether every gate has passed or is waived."""
    digest: str
    size_bytes: int
    task: str
    estimator: str
    created_at: Time
    created_by: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    licence: str
    gates: tuple[Gate, ...]
    withdrawn: Withdrawal | None
    """The person, the time and the reason of a withdrawal; None for a version that may be rolled out."""
    removed: Removal | None
    """The person and the time of the deletion of its blobs; None while they are kept."""
    rolled_back: RolledBack | None
    """How its newest rollout was rolled back; None if it was not."""

    def __str__(self) -> str:
        """A sentence, as the command prints it; `repr` has the fields."""
        stands = "is withdrawn" if self.withdrawn else "passed its gates" if self.passed else "did not pass its gates"
        estimator = f", {self.estimator[:80]}" if self.estimator else ""
        return f"{self.model} v{self.release} ({self.semver}) {stands}, {self.size_bytes / 1000:.1f} kB{estimator}"


class Version(FoundVersion, frozen=True):
    """One version of a model."""

    devices: tuple[str, ...]
    """Devices that have it, the first 50."""


class Found(Answer, frozen=True):
    """A page of a search, and the number of all matches."""

    total: int
    versions: tuple[FoundVersion, ...]
    unknown: tuple[str, ...] = ()
    """If nothing was found: the names in the query that no version has, in sentences with those that exist."""

    def table_rows(self) -> list[dict[str, object]]:
        """One row for each version."""
        return [row for each in self.versions for row in each.table_rows()]


class SourceCode(Answer, frozen=True):
    """The commit that trained a version, and whether files differed from it."""

    revision: str
    dirty: bool


class DataDigest(Answer, frozen=True):
    """The rows that a version was trained on, by their digest."""

    sha256: str
    rows: int
    columns: tuple[str, ...] = ()


class Environment(Answer, frozen=True):
    """The environment in which a version was trained."""

    python: str
    platform: str
    packages: dict[str, str]


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
    """The tags at the time of the push."""
    sample_sha256: str = ""
    data: DataDigest | None = None
    code: SourceCode | None = None
    environment_sha256: str = ""
    parent: int | None = None
    metrics: dict[str, float] = {}
    licence: str = ""
    run: str = ""
    """The id of the run that made it: `edgeward run show` where it ran."""
    data_sets: tuple[str, ...] = ()


class Notes(Answer, frozen=True):
    """What people wrote about a version."""

    tags: dict[str, str] = {}
    note: Written | None = None
    comments: tuple[Written, ...] = ()


class Alias(Answer, frozen=True):
    """A name that people gave to a version."""

    alias: str
    release: int
    by: str
    at: Time


class Difference(Answer, frozen=True):
    """One value in which two versions differ; None if a version does not have it."""

    section: str
    name: str
    before: object
    after: object


class Comparison(Answer, frozen=True):
    """Two versions of a model, and what differs between them."""

    model: str
    before: int
    after: int
    interface_change: str
    """What callers must change, in words; empty if nothing."""
    same_artifact: bool
    differences: tuple[Difference, ...]

    def table_rows(self) -> list[dict[str, object]]:
        """One row for each difference."""
        return [row for each in self.differences for row in each.table_rows()]


class Fit(Answer, frozen=True):
    """Which devices can run a version."""

    model: str
    release: int
    forms: dict[str, int]
    """Number of devices by the form that each would get: `full`, `fp16`, `int8`."""
    unfit: dict[str, str]
    """Why the others cannot, by device."""
    unknown: tuple[str, ...]
    """Devices that have not reported their hardware yet."""


class Retained(Answer, frozen=True):
    """Why the blobs of a version are kept."""

    release: int
    reason: str


class Cleaned(Answer, frozen=True):
    """What the retention rule decides about each version of a model."""

    kept: tuple[Retained, ...]
    marked: tuple[int, ...]
    """Releases that can no longer be started; their blobs are deleted a day later."""
    removed: tuple[int, ...]
    """Releases whose blobs are deleted, or are deleted now if the rule is applied."""
    removed_bytes: int


class VersionDelivery(Answer, frozen=True):
    """An artifact in fewer bytes: the encoding, and the digest of the artifact on which it is based, if any."""

    encoding: str
    blob: Blob
    base: str = ""


class VersionDetail(Version, frozen=True):
    """One version with everything that is known about it."""

    manifest: Plain
    """What a release signer has signed, as `contract.manifest.Manifest` describes it."""
    deliveries: tuple[VersionDelivery, ...]
    lineage: Lineage
    environment: Environment | None
    notes: Notes
    evidence: Plain
    """The measurements of the conversion; the keys differ by converter."""
    measured: "VersionMeasured"
    """The measurements of all devices since the controller started, for plots."""
    lost: str = ""
    """The first file of it that is missing or damaged, with the repair; empty if none is."""

    @property
    def variants(self) -> tuple["VariantEvidence", ...]:
        """Returns the requested smaller forms, also those that were left out."""
        return VersionEvidence.read(self.evidence).variants


class VersionMeasured(Answer, frozen=True):
    """The measurements of one version on all devices since the controller started."""

    predictions: dict[str, int] = {}
    """Answers by label; the rarest as `other`."""
    features: dict[str, tuple[int, ...]] = {}
    """Inputs by column: counts per bin of the golden set's reference."""
    outputs: tuple[int, ...] = ()
    """Numbers answered, or a classifier's confidence: counts per bin of the reference."""
    divergence: tuple[int, ...] = ()
    """Rows as a shadow, by the distance of the answers from stable's."""
    metrics: dict[str, Metric] = {}
    """Numbers that applications measure, by name."""


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
    """The id of the answer on its device, as the application got it."""
    key: str = ""
    """The person or thing to which the row belongs."""
    file: str = ""
    """The name of the file from which the row came; only for images."""
    signature: str = ""
    """The signature by the device's key, over all but the label; empty for a device without a key."""


_UNSHOWN = ("inputs", "signature")
"""Fields of a row that are not shown: inputs have their own columns, and a signature is not readable."""


class Capture(Answer, frozen=True):
    """One captured inference of a device; `id` grows."""

    id: int
    device: str
    row: CapturedRow

    @property
    def at(self) -> datetime:
        """When the device answered, by its clock."""
        return datetime.fromtimestamp(self.row.at, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row: inputs with their own names, facts about the inference with an underscore before the name."""
        (about,) = self.row.table_rows()
        about = {**about, "answer": self.row.id, "id": self.id, "device": self.device, "at": self.at}
        inputs: dict[str, object] = dict(self.row.inputs)
        return [inputs | {f"_{name}": value for name, value in about.items() if name not in _UNSHOWN}]
