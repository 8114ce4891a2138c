"""What the API shows: structs with a schema, made from the world. OpenAPI and the client's tables follow from them."""

from typing import Any

import msgspec

from contract.blobs import Blob
from contract.captured import CapturedRow
from contract.desired import Delivery
from contract.histogram import quantile_us
from contract.messages import Hardware, ModelState
from contract.wire import Message
from controller.fleet.twin import Twin
from controller.gates.verdict import GateVerdict
from controller.reconcile.world import World
from controller.registry.registry import Version
from controller.rollout.facts import Sums


class Health(Message, frozen=True):
    """Whether the controller works."""

    status: str
    """ok | failing; the HTTP status is 503 then."""
    findings: tuple[str, ...]
    """Codes of what is wrong; `/v1/fleet` says it in words, to those who have a token."""
    pass_age_s: float
    """Since the last good pass."""
    broker: str
    broker_connected: bool
    free_bytes: int
    """In the data directory."""
    expiry_days: float
    """Until the first certificate or role of the controller expires."""
    devices: int
    messages_dropped: int
    messages_not_authentic: int
    """Messages that were not signed by the device that their topic names."""


class Enrolment(Message, frozen=True):
    """What a device needs to know: where the broker is, and whose signatures count."""

    broker_url: str
    root: str
    """The fleet's newest root, as it was signed: where the device's trust starts."""


class CapturedView(Message, frozen=True):
    """One inference that a device kept."""

    id: int
    """Grows; asks for what follows as `after`."""
    device: str
    row: CapturedRow


class VersionView(Message, frozen=True):
    """One version."""

    model: str
    release: int
    passed: bool
    digest: str
    size_bytes: int
    task: str
    estimator: str
    created_at: str
    created_by: str
    gates: tuple[GateVerdict, ...]


class VersionDetail(VersionView, frozen=True):
    """One version with everything that is known about it."""

    manifest: dict[str, Any]
    deliveries: tuple[Delivery, ...]
    """In how few bytes its forms come, by themselves and as changes to other versions."""
    lineage: dict[str, Any]
    evidence: dict[str, Any]


class ModelView(Message, frozen=True):
    """One model."""

    name: str
    versions: int
    newest_release: int
    newest_passed: int | None
    devices: int


class MeasuredView(Message, frozen=True):
    """Inferences of one release on one device since the controller started."""

    release: int
    inferences: int
    errors: int
    rows: int
    """Rows in the inferences: a request may hold many."""
    refused: dict[str, int]
    """Requests that were not what the release takes, by code. They are no inferences."""
    refused_alone: int
    """Of them, those that the stable version beside the trial would have taken."""
    faults: dict[str, str]
    """The newest words about a failing or refused row, by code."""
    accuracy: float | None
    """Of a classifier."""
    mean_absolute_error: float | None
    """Of a regression, in the unit of its labels."""
    r2: float | None
    labelled: int
    labels_unusable: int
    """Labels that were there and no labels."""
    latency_us_p50: float | None
    latency_us_p95: float | None


class DeviceModelView(Message, frozen=True):
    """One model on one device: desired, reported, measured."""

    model: str
    desired_release: int | None
    state: ModelState | None
    measured: tuple[MeasuredView, ...]


class DeviceView(Message, frozen=True):
    """One device."""

    device: str
    presence: str
    labels: dict[str, str]
    hardware: Hardware | None
    document_version: int
    models: tuple[DeviceModelView, ...]
    dropped: dict[str, int]
    rss_mb: float | None
    cpu_ratio: float | None
    temperature_c: float | None
    swap_stall_ms_max: float | None
    swap_rss_mb: float | None
    bytes_received: int
    bytes_sent: int
    bytes_s: float
    """Received, in the newest interval of telemetry."""
    seen_s_ago: float | None


class HistoryEntry(Message, frozen=True):
    """One report of a device."""

    at: str
    report: dict[str, Any]


class DeviceDetail(DeviceView, frozen=True):
    """One device with its newest reports, oldest first."""

    history: tuple[HistoryEntry, ...]


class Sentences(msgspec.Struct, frozen=True):
    """Sentences for people, in order."""

    sentences: list[str]


class Labelled(msgspec.Struct, frozen=True):
    """Rows that have a label now."""

    rows: int


class Lifted(msgspec.Struct, frozen=True):
    """How many versions a device may be offered again."""

    versions: int


def version_fields(version: Version) -> dict[str, Any]:
    """Fields of a VersionView."""
    return {
        "model": version.model,
        "release": version.release,
        "passed": version.passed,
        "digest": version.manifest.artifact.sha256,
        "size_bytes": version.manifest.artifact.length,
        "task": version.manifest.task,
        "estimator": version.lineage.estimator or version.lineage.source,
        "created_at": version.lineage.created_at,
        "created_by": version.lineage.created_by,
        "gates": version.gates,
    }


def version_detail(version: Version, deliveries: tuple[Delivery, ...] = ()) -> VersionDetail:
    """Everything about a version."""
    return VersionDetail(
        manifest=msgspec.to_builtins(version.manifest),
        deliveries=deliveries,
        lineage=msgspec.to_builtins(version.lineage),
        evidence=version.evidence,
        **version_fields(version),
    )


def device_fields(twin: Twin, world: World, now: float) -> dict[str, Any]:
    """Fields of a DeviceView."""
    traffic = world.measured.traffic.get(twin.device)
    newest = traffic.newest if traffic else None
    names = sorted(set(twin.desired) | set(twin.reported))
    return {
        "device": twin.device,
        "presence": twin.presence(now, world.silent_s),
        "labels": twin.labels,
        "hardware": twin.hardware,
        "document_version": twin.document_version,
        "models": tuple(_device_model(twin, name, world) for name in names),
        "dropped": twin.dropped,
        "rss_mb": newest.rss_mb if newest else None,
        "cpu_ratio": newest.cpu_ratio if newest else None,
        "temperature_c": newest.temperature_c if newest else None,
        "swap_stall_ms_max": newest.swap_stall_ms_max if newest else None,
        "swap_rss_mb": newest.swap_rss_mb if newest else None,
        "bytes_received": newest.bytes_received if newest else 0,
        "bytes_sent": newest.bytes_sent if newest else 0,
        "bytes_s": round(traffic.bytes_s, 1) if traffic else 0.0,
        "seen_s_ago": round(now - twin.seen_at, 1) if twin.seen_at is not None else None,
    }


def _device_model(twin: Twin, name: str, world: World) -> DeviceModelView:
    assigned = twin.desired.get(name)
    measured = [
        _measured(release, sums, world.measured.faults.get((device, model, release), {}))
        for (device, model, release), sums in sorted(world.measured.totals.items())
        if (device, model) == (twin.device, name)
    ]
    return DeviceModelView(
        model=name,
        desired_release=assigned.release if assigned else None,
        state=twin.reported.get(name),
        measured=tuple(measured),
    )


def _measured(release: int, sums: Sums, faults: dict[str, str]) -> MeasuredView:
    return MeasuredView(
        release=release,
        inferences=sums.inferences,
        errors=sums.errors,
        rows=sums.rows,
        refused=dict(sums.refused),
        refused_alone=sums.refused_alone,
        faults=faults,
        accuracy=sums.accuracy,
        mean_absolute_error=sums.mean_absolute_error,
        r2=sums.r2,
        labelled=sums.labelled,
        labels_unusable=sums.labels_unusable,
        latency_us_p50=quantile_us(sums.latency_counts, 0.5),
        latency_us_p95=quantile_us(sums.latency_counts, 0.95),
    )


class TrustView(Message, frozen=True):
    """Roles and their keys, as root and targets define them."""

    roles: list[dict[str, Any]]
    files: dict[str, str]
    """Every document as it was signed."""
    unsigned: dict[str, list[int]]
    """Versions that passed their gates and wait for a release signer, by model."""


class MetadataTaken(Message, frozen=True):
    """The names of documents that were new in an offer."""

    taken: list[str]


class PublicKey(Message, frozen=True):
    """A key's public half, in securesystemslib's form."""

    keyid: str
    key: dict[str, Any]


class RoleProposal(Message, frozen=True):
    """What a release signer is asked to vouch for."""

    model: str
    manifests: dict[str, Any]
    """By release: digest, size, inputs, limits."""
    signed: list[int]
    """Releases that are vouched for already."""
    min_release: int
    signers: list[str]
    """Key ids that may sign; none for a model whose signer the targets key has yet to name."""


class Revoked(Message, frozen=True):
    """How many certificates of a device were revoked."""

    device: str
    certificates: int


class TokenView(Message, frozen=True):
    """A token without its secret."""

    id: str
    name: str
    roles: list[str]
    created_at: str
    expires_at: str
    revoked: bool


class NewToken(Message, frozen=True):
    """A token that was just made; it is not shown again."""

    token: str
    kept: TokenView


class AuditExport(Message, frozen=True):
    """Every entry with its hash, the checkpoint that signed metadata carries, and what is wrong, if anything is."""

    entries: list[dict[str, Any]]
    witness: str
    faults: list[str]


class StickView(Message, frozen=True):
    """What a stick carries to devices that no broker connects."""

    documents: dict[str, str]
    """By topic, as they were signed."""
    blobs: list[Blob]
    """What the documents name; the bytes are at `/v1/blobs`."""
    devices: list[str]
    """Devices that find a document there."""


class StickTaken(Message, frozen=True):
    """What became of the messages on a stick."""

    taken: int
    refused: int
    """Messages that were not authentic, or malformed: the controller's log says why."""
