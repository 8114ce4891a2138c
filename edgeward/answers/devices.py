"""Answers about the fleet: devices, what they run, measure and report, and what a new device needs."""

from typing import ClassVar

from contract.errors import Code
from edgeward.answers.answer import Answer, Time
from edgeward.answers.pins import Pin
from edgeward.answers.written import Written

DAY_S = 86_400.0
OVERDUE_DAYS = {"timestamp": 1.0, "snapshot": 10.0}
"""Roles that the controller signs again long before they expire (after half a day of 2 days, 15 of 30). With fewer days
left a device has missed that."""


class VersionRef(Answer, frozen=True):
    """A version by its number and its digest."""

    release: int
    digest: str


class UpdateOutcome(Answer, frozen=True):
    """How a device's newest update ended."""

    generation: int
    version: VersionRef
    result: str
    code: str = ""
    detail: str = ""


class Progress(Answer, frozen=True):
    """How much of a version the device has received."""

    done_bytes: int
    total_bytes: int


class GoldenProbe(Answer, frozen=True):
    """The newest test whether what a device has loaded answers the golden set as at conversion."""

    digest: str
    golden: str
    """The digest of the golden set."""
    at: int
    """When it ended, in seconds since 1970 by the device's own clock."""
    rows: int
    missed: int
    """Rows that were answered beyond tolerance."""
    passed: bool


class ModelState(Answer, frozen=True):
    """The report of a device about one model."""

    model: str
    phase: str
    generation: int
    stable: VersionRef | None = None
    trial: VersionRef | None = None
    target: VersionRef | None = None
    progress: Progress | None = None
    stable_proven: bool = False
    golden: GoldenProbe | None = None
    """The golden probe of the confirmed version; None: no probe has ended since the agent started."""
    serving: str = ""
    """The digest of the version that answers."""
    outcome: UpdateOutcome | None = None
    code: str = ""
    detail: str = ""

    @property
    def why(self) -> str:
        """The code of the fault that delays the update or has ended it; empty if there is none.

        An update that a newer one has replaced is no fault.
        """
        ended = self.outcome.code if self.outcome else ""
        return self.code or ("" if ended == Code.SUPERSEDED else ended)


class Hardware(Answer, frozen=True):
    """The machine and the program versions of a device."""

    machine: str
    cpus: int
    memory_mb: int
    python: str
    onnxruntime: str
    agent: str
    sandbox: str = ""
    encodings: tuple[str, ...] = ()


class Sensor(Answer, frozen=True):
    """One source of rows on a device. Counts are since the agent started."""

    name: str
    kind: str
    model: str
    state: str
    """`starting`, `running`, `waiting` (the source has failed and is opened again) or `ended`."""
    rows: int = 0
    answered: int = 0
    refused: int = 0
    unserved: int = 0
    failures: int = 0
    error: str = ""
    row_age_s: float | None = None


class Sink(Answer, frozen=True):
    """One sink of predictions on a device. Counts are since the agent started."""

    name: str
    kind: str
    state: str
    """`starting`, `running`, `failing` or `ended`."""
    delivered: int = 0
    undelivered: int = 0
    failures: int = 0
    error: str = ""
    delivered_age_s: float | None = None


class Metric(Answer, frozen=True):
    """A number that applications on devices measure."""

    count: int
    mean: float
    deviation: float
    """The standard deviation."""


class Measured(Answer, frozen=True):
    """Inferences of one release on one device since the controller started."""

    release: int
    inferences: int
    errors: int
    accuracy: float | None
    """The accuracy of a classifier; None for a regression."""
    labelled: int
    latency_us_p50: float | None
    latency_us_p95: float | None
    rows: int = 0
    """Rows in the inferences: a request may hold many."""
    refused: dict[str, int] = {}
    """Requests that the release cannot accept, by code. They are no inferences."""
    refused_alone: int = 0
    """The refused requests that the stable version beside the trial would have accepted."""
    faults: dict[str, str] = {}
    """The newest words about a row that failed or was refused, by code."""
    mean_absolute_error: float | None = None
    """The mean absolute error of a regression, in the unit of its labels."""
    r2: float | None = None
    labels_unusable: int = 0
    """Values that were given as labels and are invalid."""
    labels_unknown: int = 0
    """Labels of no known class: no version of the model on the device can answer them."""
    metrics: dict[str, Metric] = {}
    """Numbers that the application measures, by name."""


class DeviceModel(Answer, frozen=True):
    """One model on one device: desired, reported, measured."""

    model: str
    desired_release: int | None
    state: ModelState | None
    measured: tuple[Measured, ...]

    @property
    def stable_release(self) -> int | None:
        """The release that the device has confirmed; None if it has confirmed none."""
        return self.state.stable.release if self.state is not None and self.state.stable is not None else None

    @property
    def serving(self) -> Measured | None:
        """The measurements of the confirmed release; None before the first telemetry."""
        return next((each for each in self.measured if each.release == self.stable_release), None)


class Fault(Answer, frozen=True):
    """One fault of a device."""

    code: str
    """`clock_wrong`, `disk_full`, the code of a refused document: docs/reference/codes.md has each."""
    detail: str


class CaptureRates(Answer, frozen=True):
    """How many inferences of a model are kept."""

    rate: str = "0"
    """A decimal number from 0 to 1; also below."""
    below_confidence: str = "0"


class RemoteConfig(Answer, frozen=True):
    """Values that replace parts of a device's own file. None or empty: its own file is used."""

    version: int
    heartbeat_s: int | None = None
    telemetry_s: int | None = None
    paused_sensors: tuple[str, ...] = ()
    capture: dict[str, CaptureRates] = {}
    max_connections: int | None = None
    max_body_bytes: int | None = None


class ConfigState(Answer, frozen=True):
    """The versions of remote configurations on a device; 0 for none."""

    confirmed: int = 0
    trial: int = 0
    refused: int = 0
    """The newest one that was refused or taken back."""
    code: str = ""
    detail: str = ""


class Device(Answer, frozen=True):
    """One device."""

    device: str
    presence: str
    """`online`, `offline`, `silent` or `unknown`."""
    health: str
    """The worst of `failing`, `attention`, `silent`, `offline`, `updating` and `well` that applies."""
    why: str
    """The reason for `health`."""
    faults: tuple[Fault, ...]
    """What is wrong with it now; empty for nothing."""
    quarantined: tuple[str, ...]
    """Versions that are not offered to it again, because they failed there."""
    labels: dict[str, str]
    """The device's own labels, replaced by those that people gave it: selectors use these."""
    given_labels: dict[str, str]
    config: RemoteConfig | None
    """The remote configuration that was sent to it."""
    config_said: ConfigState | None
    """The state of that configuration on the device; None: it has never had one."""
    note: Written | None
    """The note that a person wrote about it."""
    hardware: Hardware | None
    document_version: int
    models: tuple[DeviceModel, ...]
    dropped: dict[str, int]
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
    seen_s_ago: float | None
    sensors: tuple[Sensor, ...]
    sinks: tuple[Sink, ...]
    pins: dict[str, Pin]
    """By model, the release at which people hold it: rollouts do not change the device."""
    pinned: dict[str, int]
    """The releases at which its own configuration holds models, which take precedence."""

    def __str__(self) -> str:
        """A sentence, as the command prints it; `repr` has the fields."""
        runs = ", ".join(f"{each.model} v{each.stable_release}" for each in self.models if each.stable_release)
        why = f" ({self.why})" if self.why else ""
        return f"{self.device}: {self.presence}, {self.health}{why}; runs {runs or 'no confirmed version'}"

    def nearest_expiry(self, now: float) -> tuple[str, float] | None:
        """Returns what expires first and when, in seconds since 1970; `now` likewise.

        A role that the controller signs again by itself is included only once that is overdue.
        """
        told = {
            what: at
            for what, at in self.expiries.items()
            if what not in OVERDUE_DAYS or at - now < OVERDUE_DAYS[what] * DAY_S
        }
        return min(told.items(), key=lambda item: item[1], default=None)

    def table_rows(self) -> list[dict[str, object]]:
        """One row per model, or one with the model None; labels are columns."""
        faults = " ".join(each.code for each in self.faults)
        base: dict[str, object] = {"device": self.device, "presence": self.presence, "health": self.health}
        base |= {"faults": faults, **self.labels}
        return [base | _model_row(each) for each in self.models] or [base | {"model": None}]


class DevicePage(Answer, frozen=True):
    """A page of a search of devices."""

    total: int
    """The number of devices on all pages."""
    devices: tuple[Device, ...]
    unmatched: tuple[str, ...] = ()
    """If nothing was found: in words, values of filters that no device has."""


class Report(Answer, frozen=True):
    """One report: a new state, or the refusal of a document."""

    state: ModelState | None = None
    refusal: "Refusal | None" = None


class Refusal(Answer, frozen=True):
    """Why a device refused a document."""

    code: str
    detail: str = ""


class HistoryEntry(Answer, frozen=True):
    """One report of a device, and when the controller stored it."""

    at: Time
    report: Report


class DeviceDetail(Device, frozen=True):
    """One device with its newest reports, oldest first."""

    history: tuple[HistoryEntry, ...]


class Enrolment(Answer, frozen=True):
    """The facts that a new device needs: the broker's address, and the signed root of trust (JSON)."""

    _secret: ClassVar[frozenset[str]] = frozenset({"broker_url"})
    """The address may hold a password."""

    broker_url: str
    root: str
    needs_claim: bool = False
    """Whether the broker asks for a certificate, which a claim gives."""


class Retired(Answer, frozen=True):
    """A device that was taken out of the fleet."""

    device: str
    at: Time
    by: str


class DeviceLines(Answer, frozen=True):
    """A device's answer: log lines, oldest first, or the findings of its doctor. Without secrets."""

    device: str
    lines: tuple[str, ...]
    left_out: int
    """The number of older lines that the device has and did not send."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


class NoteOfDevice(Answer, frozen=True):
    """The note of a device; None: there is none."""

    device: str
    note: Written | None


class Selector(Answer, frozen=True):
    """Labels under a name."""

    name: str
    labels: dict[str, str]
    by: str
    at: Time


_FIGURES = ("accuracy", "mean_absolute_error", "r2", "latency_us_p95")


def _model_row(model: DeviceModel) -> dict[str, object]:
    measured = model.serving
    return {
        "model": model.model,
        "desired": model.desired_release,
        "phase": model.state.phase if model.state is not None else None,
        "stable": model.stable_release,
        "inferences": sum(each.inferences for each in model.measured),
        "errors": sum(each.errors for each in model.measured),
        "refused": sum(sum(each.refused.values()) for each in model.measured),
        **{name: getattr(measured, name, None) for name in _FIGURES},
    }
