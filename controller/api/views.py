"""The views of the API: structs with a schema, made from the world. OpenAPI and the client's tables follow from
them.
"""

import math
from typing import Any

import msgspec

from contract.captured import CapturedRow
from contract.histogram import quantile_us
from contract.messages import ConfigState, Hardware, MetricSums, ModelState, SensorState, SinkState
from contract.remote_config import RemoteConfig
from contract.wire import Message
from controller.fleet.device_health import judge, judge_told
from controller.fleet.faults import faults_of
from controller.fleet.pin import Pin
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.quarantined import quarantined_on
from controller.reconcile.why import WhyItem
from controller.reconcile.world import World
from controller.rollout.facts import Sums, total
from controller.written import Written


class Health(Message, frozen=True):
    """Whether the controller works."""

    status: str
    """ok | failing; then the HTTP status is 503."""
    findings: tuple[str, ...]
    """Codes of what is wrong; `/v1/fleet` explains them to callers with a token."""
    pass_age_s: float
    """Seconds since the last successful pass."""
    broker: str
    broker_connected: bool
    free_bytes: int
    """Free bytes in the data directory."""
    expiry_days: float
    """Days until the first certificate or role of the controller expires, of those that no pass renews."""
    devices: int
    messages_dropped: int
    messages_not_authentic: int
    """Messages without a signature of the device that their topic names."""
    retained_put_right: int
    """How often a retained message of another client was replaced or removed."""


class Enrolment(Message, frozen=True):
    """The facts that a device needs: the address of the broker, and the root of trust."""

    broker_url: str
    root: str
    """The fleet's newest root, as it was signed: the start of the device's trust."""
    needs_claim: bool
    """Whether the broker asks for a certificate of this controller's authority, which a claim gives."""


class CapturedView(Message, frozen=True):
    """One captured inference of a device."""

    id: int
    """It grows; the next page is requested with `after`."""
    device: str
    row: CapturedRow


class MetricView(Message, frozen=True):
    """A number that applications on devices measure."""

    count: int
    mean: float
    deviation: float
    """The standard deviation."""


class VersionMeasuredView(Message, frozen=True):
    """What all devices have measured of one version since the controller started, for plots."""

    predictions: dict[str, int]
    """Answers by label; the rarest as `other`."""
    features: dict[str, tuple[int, ...]]
    """Inputs by column: counts per bin of the golden set's reference."""
    outputs: tuple[int, ...]
    """Numbers answered, or a classifier's confidence: counts per bin of the reference."""
    divergence: tuple[int, ...]
    """Rows as a shadow, by the distance from stable's answers: counts per bin of 0, 0.001, 0.003, 0.01 to 3."""
    metrics: dict[str, MetricView]
    """Numbers that applications measure, by name."""


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
    """Requests that the release cannot accept, by code. They are no inferences."""
    refused_alone: int
    """The refused requests that the stable version beside the trial would have accepted."""
    faults: dict[str, str]
    """The newest words about a row that failed or was refused, by code."""
    accuracy: float | None
    """The accuracy of a classifier."""
    mean_absolute_error: float | None
    """The mean absolute error of a regression, in the unit of its labels."""
    r2: float | None
    labelled: int
    labels_unusable: int
    """Values that were given as labels and are invalid."""
    labels_unknown: int
    """Labels of no known class: no version of the model on the device can answer them."""
    latency_us_p50: float | None
    latency_us_p95: float | None
    metrics: dict[str, MetricView]
    """Numbers that the application measures, by name."""


class DeviceModelView(Message, frozen=True):
    """One model on one device: desired, reported, measured."""

    model: str
    desired_release: int | None
    """None if nothing is desired, or if the device has a newer document of a controller that no longer exists."""
    state: ModelState | None
    measured: tuple[MeasuredView, ...]


class FaultView(Message, frozen=True):
    """One fault of a device."""

    code: str
    """A code of docs/reference/codes.md: `clock_wrong`, `disk_full`, that of a refused document."""
    detail: str


class DeviceView(Message, frozen=True):
    """One device."""

    device: str
    presence: str
    health: str
    """failing | attention | silent | offline | updating | well: the worst one that applies."""
    why: str
    """The reason for `health`, in words."""
    faults: tuple[FaultView, ...]
    """What is wrong with it now, as far as it has reported or the controller can see."""
    quarantined: tuple[str, ...]
    """Versions that are not offered to it again, because they failed there."""
    labels: dict[str, str]
    """The device's own labels; those that the controller gives replace them. Selectors use these."""
    given_labels: dict[str, str]
    config: RemoteConfig | None
    """The remote configuration that was sent to it."""
    config_said: ConfigState | None
    """The state of that configuration on the device; None: it has never had one."""
    note: Written | None
    """The note that a person wrote about it."""
    pins: dict[str, Pin]
    """By model, the release at which people hold it."""
    pinned: dict[str, int]
    """The releases at which its own configuration holds models, which take precedence."""
    hardware: Hardware | None
    document_version: int
    models: tuple[DeviceModelView, ...]
    dropped: dict[str, int]
    sensors: tuple[SensorState, ...]
    sinks: tuple[SinkState, ...]
    expiries: dict[str, int]
    """When certificates and roles expire that it has or relies on, in seconds since 1970."""
    rss_mb: float | None
    cpu_ratio: float | None
    temperature_c: float | None
    swap_stall_ms_max: float | None
    swap_rss_mb: float | None
    bytes_received: int
    bytes_sent: int
    bytes_s: float
    """Bytes a second received in the newest interval of telemetry."""
    seen_s_ago: float | None


class DevicePage(Message, frozen=True):
    """A page of a search of devices."""

    total: int
    """The number of devices on all pages."""
    devices: tuple[DeviceView, ...]
    unmatched: tuple[str, ...] = ()
    """If nothing was found: in words, values of filters that no device has."""


class RetiredView(Message, frozen=True):
    """A device that was taken out of the fleet."""

    device: str
    at: str
    by: str


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


class WhyView(Sentences, frozen=True):
    """Why a device runs what it runs, as sentences and as the facts in them."""

    items: tuple[WhyItem, ...] = ()


class Labelled(msgspec.Struct, frozen=True):
    """Rows that have a label now."""

    rows: int


class Lifted(msgspec.Struct, frozen=True):
    """How many quarantined versions a device may be offered again."""

    versions: int


def device_fields(twin: Twin, world: World, now: float) -> dict[str, Any]:
    """Fields of a DeviceView."""
    traffic = world.measured.traffic.get(twin.device)
    newest = traffic.newest if traffic else None
    faults = faults_of(twin, world.withdrawn, now)
    retired = twin.device in world.durable.retired
    presence = twin.presence(now, world.silent_s)
    health, why = judge(judge_told(twin, faults, traffic), presence, world.alerts.get(twin.device, ""))
    names = sorted(set(twin.desired) | set(twin.reported))
    return {
        "device": twin.device,
        "presence": "retired" if retired else presence,
        "health": "offline" if retired else health,
        "why": "it was retired" if retired else why,
        "faults": tuple(FaultView(code=code, detail=words) for code, words in faults.items()),
        "quarantined": quarantined_on(world.durable, twin.device),
        "labels": twin.labels,
        "given_labels": twin.given_labels,
        "note": twin.note,
        "pins": twin.pins,
        "pinned": twin.pinned,
        "config": twin.config,
        "config_said": twin.config_said,
        "hardware": twin.hardware,
        "document_version": twin.document_version,
        "models": tuple(_device_model(twin, name, world) for name in names),
        "dropped": twin.dropped,
        "sensors": twin.sensors,
        "sinks": twin.sinks,
        "expiries": twin.expiries,
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
    of = twin.device, name
    releases = sorted(release for model, release in world.measured.versions.get(twin.device, ()) if model == name)
    measured = [
        _measured(
            release, world.measured.totals.get((*of, release), Sums()), world.measured.faults.get((*of, release), {})
        )
        for release in releases
    ]
    return DeviceModelView(
        model=name,
        desired_release=assigned.release
        if assigned is not None and _is_ahead(assigned, twin.reported.get(name))
        else None,
        state=twin.reported.get(name),
        measured=tuple(measured),
    )


def _is_ahead(assigned: Assigned, said: ModelState | None) -> bool:
    """Whether a document is at least as new as the newest one of the device. After a restore it may be older; the
    device then keeps the newer one."""
    return said is None or said.generation <= assigned.generation


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
        labels_unknown=sums.labels_unknown,
        latency_us_p50=quantile_us(sums.latency_counts, 0.5),
        latency_us_p95=quantile_us(sums.latency_counts, 0.95),
        metrics=metric_views(sums),
    )


def version_measured(world: World, model: str, release: int) -> VersionMeasuredView:
    """What all devices have measured of a version."""
    measured, of = world.measured, (model, release)
    sums = (each for (_, *named), each in measured.totals.items() if named == [model, release])
    found = dict(measured.distributions.get(of, {}))
    return VersionMeasuredView(
        predictions=dict(sorted(measured.predictions.get(of, {}).items())),
        outputs=found.pop("", ()),
        features=dict(sorted(found.items())),
        divergence=measured.divergences.get(of, ()),
        metrics=metric_views(total(sums)),
    )


def metric_views(sums: Sums) -> dict[str, MetricView]:
    """Returns an application's numbers by name."""
    return {
        name: MetricView(count=each.count, mean=each.sum / each.count, deviation=deviation_of(each))
        for name, each in sorted(sums.metrics.items())
        if each.count
    }


def deviation_of(sums: MetricSums) -> float:
    """Returns the standard deviation; 0 if rounding would make the variance negative."""
    mean = sums.sum / sums.count
    return math.sqrt(max(0.0, sums.squared_sum / sums.count - mean * mean))
