"""One version of a model: its signed manifest, its origin, the evidence, and the verdicts of its gates.

Decides what "passed" means: every gate has passed, or somebody has waived it. Refuses to know where versions are kept.
"""

import math
from typing import Annotated, Any

import msgspec

from contract.errors import BadInput, Code
from contract.manifest import Manifest, Stage
from contract.wire import Message
from controller.gates.verdict import GateVerdict

MAX_PARAMS = 200
"""The most parameters of a version: a pipeline with a grid search has about 60."""
MAX_PACKAGES = 1_000
"""The most packages of an environment: a notebook server with everything on it has about 600."""
MAX_METRICS = 100
MAX_DATA_SETS = 100
MAX_RUN_CHARS = 128


class SourceCode(Message, frozen=True):
    """The state of the code that trained a version."""

    revision: str
    dirty: bool
    """Whether files differed from that commit, so that the commit alone does not reproduce the training."""


class DataDigest(Message, frozen=True):
    """The rows on which a version was trained, by their digest: the rows themselves are not copied."""

    sha256: str
    rows: int
    columns: tuple[str, ...] = ()


class Environment(Message, frozen=True):
    """The environment of a training. Versions with one environment store it once, under its digest."""

    python: str
    platform: str
    packages: dict[str, str]
    """Version by package name."""


class Told(Message, frozen=True):
    """The facts about a version that only the person who pushes it has."""

    data: DataDigest | None = None
    code: SourceCode | None = None
    environment: Environment | None = None
    parent: str = ""
    """The version from which this one is derived: a number, a semantic version or an alias."""
    params: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    licence: str = ""
    """An SPDX identifier, for example `Apache-2.0`."""
    run: str = ""
    """The id of the run that made it, on the machine where it ran."""
    data_sets: tuple[str, ...] = ()
    """`NAME@VERSION` of the data sets from which its rows came."""
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(max_length=2)] = ()
    """The two models of which a graph was made, where it comes back from an exported folder."""


def check_told(told: Told) -> None:
    """Raises BadInput `request_invalid` for more than a version can store, or a metric that is no number."""
    packages = told.environment.packages if told.environment is not None else {}
    for what, found, limit in (
        ("parameters", len(told.params), MAX_PARAMS),
        ("metrics", len(told.metrics), MAX_METRICS),
        ("packages", len(packages), MAX_PACKAGES),
        ("data sets", len(told.data_sets), MAX_DATA_SETS),
    ):
        if found > limit:
            raise BadInput(Code.REQUEST_INVALID, f"{found} {what}, limit {limit}")
    if len(told.run) > MAX_RUN_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"the run has {len(told.run)} characters, limit {MAX_RUN_CHARS}")
    if wrong := [name for name, number in told.metrics.items() if not math.isfinite(number)]:
        raise BadInput(Code.REQUEST_INVALID, f"metric {wrong[0][:64]!r} is no finite number")


class Lineage(Message, frozen=True):
    """Where a version came from."""

    created_at: str
    created_by: str
    source: str
    """`skops`, `onnx`, or `stages`: two models in a row."""
    source_sha256: str
    estimator: str = ""
    params: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    """Versions of the libraries that converted it."""
    tags: dict[str, str] = {}
    """The tags at the time of the push. `Notes.tags` has the present ones."""
    sample_sha256: str = ""
    data: DataDigest | None = None
    code: SourceCode | None = None
    environment_sha256: str = ""
    parent: int | None = None
    metrics: dict[str, float] = {}
    """The metrics given by the push. What a gate has measured is in the gate's evidence."""
    licence: str = ""
    run: str = ""
    """The id of the run that made it; the run itself stays on the machine where it ran."""
    data_sets: tuple[str, ...] = ()
    """`NAME@VERSION` of the data sets from which its rows came; a deletion finds the version by them."""


class Version(Message, frozen=True):
    """One version of a model."""

    model: str
    release: int
    manifest: Manifest
    lineage: Lineage
    evidence: dict[str, Any]
    """The measurements of the conversion, parity first."""
    gates: tuple[GateVerdict, ...]
    semver: str = ""
    """`MAJOR.MINOR.PATCH` by `registry.semver`; empty for a version of an older controller."""

    @property
    def passed(self) -> bool:
        """Whether every gate has passed or is waived; only then may a rollout name the version."""
        return all(gate.passed or gate.waiver is not None for gate in self.gates)

    @property
    def digests(self) -> frozenset[str]:
        """Digests of all blobs that the version needs: artifacts and golden sets of all its forms."""
        forms = self.manifest.forms
        return frozenset(digest for form in forms for digest in (form.artifact.sha256, form.golden.blob.sha256))


class Withdrawal(Message, frozen=True):
    """The person, time and reason of a withdrawal."""

    by: str
    at: str
    reason: str


class Removal(Message, frozen=True):
    """The person and time of a deletion of a version's blobs. The version itself stays, with its evidence."""

    by: str
    at: str


def gate_words(version: Version) -> str:
    """Returns the verdicts of the gates in words, failed ones first, because a long text is cut at its end."""
    ordered = sorted(version.gates, key=lambda gate: gate.passed or gate.waiver is not None)
    return "; ".join(f"{gate.gate} {_verdict(gate)}: {gate.detail}" for gate in ordered)


def _verdict(gate: GateVerdict) -> str:
    if gate.waiver is not None:
        return f"waived by {gate.waiver.by} ({gate.waiver.reason})"
    return "passed" if gate.passed else "FAILED"


def same_bytes(one: Version, other: Version) -> bool:
    """Returns whether two versions are the same: equal blobs and signature, and equal verdicts of the same gates.

    A version with other gates, or other verdicts, gets its own number.
    """
    return _essence(one) == _essence(other)


def _essence(version: Version) -> tuple[object, ...]:
    manifest = version.manifest
    blobs = tuple((form.artifact.sha256, form.golden.blob.sha256) for form in manifest.forms)
    verdicts = tuple((gate.gate, gate.passed) for gate in version.gates)
    return blobs, manifest.inputs, manifest.outputs, manifest.columns, manifest.task, manifest.state, verdicts
