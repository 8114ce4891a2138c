"""Messages between devices and the controller, apart from signed documents: one struct per message.

Every message of a device carries (boot, seq). `boot` is a random number for each start of the agent, `seq` counts that
start's messages. A later number replaces an earlier one of the same start, and a duplicate changes nothing.
Unknown keys are ignored, so that agents and controllers of neighbouring versions understand each other.
"""

from typing import Annotated, Literal

import msgspec

from contract.bounds import (
    Celsius,
    Cores,
    Count,
    Elapsed,
    IntervalS,
    Megabytes,
    MegabytesMore,
    Milliseconds,
    Release,
    SignedSum,
    SquaredSum,
    Sum,
    WholeElapsed,
    WholeMoment,
)
from contract.histogram import LATENCY_BUCKETS
from contract.protocol import (
    MAX_BINS,
    MAX_DETAIL_CHARS,
    MAX_FAULTS,
    MAX_FEATURES,
    MAX_GROUPS,
    MAX_LABELS,
    MAX_MODELS_PER_DEVICE,
)
from contract.wire import Said

Phase = Literal["steady", "fetching", "probing", "ready", "trial"]
Result = Literal["confirmed", "rolled_back", "rejected", "shadowed"]
"""shadowed: the trial has run beside stable for its soak and passed; it waits for a document that lets it serve."""
Text = Annotated[str, msgspec.Meta(max_length=MAX_DETAIL_CHARS)]
Short = Annotated[str, msgspec.Meta(max_length=128)]
Digest = Annotated[str, msgspec.Meta(max_length=64)]
Bins = Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_BINS)]
NeighbourAddress = Annotated[
    str, msgspec.Meta(pattern=r"^(http://([0-9.]{7,15}|\[[0-9a-f:]{2,39}\]):[0-9]{1,5}/\{sha256\})?\Z")
]
"""An IP address and a port, and no other text that the sender could choose."""
BreachCounts = Annotated[tuple[Count, ...], msgspec.Meta(min_length=4, max_length=4)]
GroupCounts = Annotated[tuple[Count, ...], msgspec.Meta(min_length=6, max_length=6)]
MAX_SENSORS = 32
"""Sensors and sinks that a device may have: a heartbeat names each."""
MAX_METRICS = 16
"""Numbers that an application may measure for one model, by name."""
MAX_INTERVALS = 2 * MAX_MODELS_PER_DEVICE + 32
"""Entries of one telemetry message: two versions of each model, and late labels."""
Signature = Annotated[str, msgspec.Meta(max_length=256)]
MAX_PUBLIC_KEY_CHARS = 1024


class VersionRef(Said, frozen=True):
    """A version by its release number and its artifact's digest."""

    release: Release
    digest: Digest


class UpdateOutcome(Said, frozen=True):
    """The end of the newest finished update. It is kept on flash, so that it survives a lost report."""

    generation: Count
    version: VersionRef
    result: Result
    code: Short = ""
    detail: Text = ""


class Progress(Said, frozen=True):
    """The progress of one transfer."""

    done_bytes: Count
    total_bytes: Count


class GoldenProbe(Said, frozen=True):
    """The newest test of the loaded session of a version: whether it answers the golden set as at conversion."""

    digest: Digest
    """The digest of the version's artifact."""
    golden: Digest
    """The digest of the golden set."""
    at: WholeMoment
    """When the probe ended, in seconds since 1970 in UTC by the device's own clock."""
    rows: Count
    """Rows of the golden set."""
    missed: Count
    """The rows whose answers missed the tolerance."""
    passed: bool
    """Whether the manifest allows so many missed rows."""


class ModelState(Said, frozen=True):
    """One model on one device."""

    model: Short
    phase: Phase
    generation: Count
    """Newest generation that the device has acted on durably, or is acting on."""
    stable: VersionRef | None = None
    trial: VersionRef | None = None
    target: VersionRef | None = None
    """The version being fetched or probed."""
    progress: Progress | None = None
    """The progress of the fetch, if there is one."""
    stable_proven: bool = False
    """Whether stable has been read back complete from flash since the boot and has answered its golden set: a roll back
    works."""
    golden: GoldenProbe | None = None
    """The newest probe of the session of stable; None: none has ended since it was loaded."""
    serving: Digest = ""
    """The digest of the version that answers now; empty if no version answers."""
    outcome: UpdateOutcome | None = None
    code: Short = ""
    """The code that says why the phase makes no progress. Empty while it does."""
    detail: Text = ""


class Refusal(Said, frozen=True):
    """A document or message that was refused; the version that served still serves."""

    code: Short
    detail: Text = ""


class Presence(Said, frozen=True):
    """Whether a device is online. Retained; the last will says online=false."""

    protocol: int
    device: Short
    online: bool
    boot: Count = 0
    """The start of the agent that opened the connection; 0: not given."""


class Report(Said, frozen=True):
    """A change of phase, or a refusal."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    state: ModelState | None = None
    refusal: Refusal | None = None
    signature: Signature = ""
    """The signature by the device's key over all other fields. Empty for a device without a key."""


class Hardware(Said, frozen=True):
    """The facts about a device that a selector or a fit check may use."""

    machine: Short
    cpus: Count
    memory_mb: Count
    python: Short
    onnxruntime: Short
    agent: Short
    sandbox: Short = ""
    """The confinement of a child that loads a model: `landlock+seccomp`, or what is missing."""
    encodings: Annotated[tuple[Short, ...], msgspec.Meta(max_length=8)] = ()
    """Encodings of an artifact that the device can decode."""


class SensorState(Said, frozen=True):
    """One source of rows on a device. Counts are since the agent started."""

    name: Short
    """Its kind and its place in the configuration: `serial-1`."""
    kind: Short
    model: Short
    state: Short
    """starting | running | paused | waiting | ended. paused: by a remote configuration; waiting: the source has failed,
    and is opened again after a pause."""
    rows: Count = 0
    """Rows that came, whether good or bad."""
    answered: Count = 0
    refused: Count = 0
    """Rows that could not be read, or that the model does not accept."""
    unserved: Count = 0
    """Rows that came while no version served."""
    failures: Count = 0
    """How often the source itself failed."""
    error: Text = ""
    """The newest fault of a row or of the source, in words."""
    row_age_s: Elapsed | None = None
    """Seconds since the newest row; None before the first."""


class SinkState(Said, frozen=True):
    """One sink of predictions on a device. Counts are since the agent started."""

    name: Short
    kind: Short
    state: Short
    """starting | running | failing | ended"""
    delivered: Count = 0
    """Predictions that were accepted."""
    undelivered: Count = 0
    """Predictions that were dropped: refused, or tried too often, or waiting for too long."""
    failures: Count = 0
    """Attempts that failed."""
    error: Text = ""
    delivered_age_s: Elapsed | None = None
    """Seconds since the newest delivery; None before the first."""


class ConfigState(Said, frozen=True):
    """The versions of remote configurations on a device; 0 for none."""

    confirmed: Count = 0
    """The one in force: it was tried, and the device served and kept its link."""
    trial: Count = 0
    """The one that is being tried."""
    refused: Count = 0
    """The newest one that was refused or taken back."""
    code: Short = ""
    """Why it was refused or taken back."""
    detail: Text = ""


class Heartbeat(Said, frozen=True):
    """The full reported state; the twin can be rebuilt from it alone."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    uptime_s: WholeElapsed
    hardware: Hardware
    labels: Annotated[dict[Short, Short], msgspec.Meta(max_length=MAX_LABELS)] = {}
    models: Annotated[tuple[ModelState, ...], msgspec.Meta(max_length=MAX_MODELS_PER_DEVICE)] = ()
    pinned: Annotated[dict[Short, Count], msgspec.Meta(max_length=MAX_MODELS_PER_DEVICE)] = {}
    """The releases at which the device's own configuration pins models."""
    dropped: Annotated[dict[Short, Count], msgspec.Meta(max_length=32)] = {}
    """Counts of what limits dropped, by name."""
    serve_at: NeighbourAddress = ""
    """The address at which neighbours may fetch confirmed blobs. Empty: it serves no neighbours."""
    at: WholeMoment = 0
    """Seconds since 1970 in UTC by the device's own clock; 0 from an agent that does not send it."""
    faults: Annotated[dict[Short, Text], msgspec.Meta(max_length=MAX_FAULTS)] = {}
    """The present faults of the device by code, such as a disk that accepts no writes, or a refused document."""
    sensors: Annotated[tuple[SensorState, ...], msgspec.Meta(max_length=MAX_SENSORS)] = ()
    sinks: Annotated[tuple[SinkState, ...], msgspec.Meta(max_length=MAX_SENSORS)] = ()
    expiries: Annotated[dict[Short, WholeMoment], msgspec.Meta(max_length=32)] = {}
    """When certificates and roles expire that the device has or relies on, by name, in seconds since 1970."""
    config: ConfigState | None = None
    """The device's versions of remote configurations; None: it has never had one."""
    erased: Annotated[dict[Short, Count], msgspec.Meta(max_length=16)] = {}
    """Orders to delete captured rows that are done, of those in the newest document: rows deleted by the order's id."""
    nonce: Short = ""
    """A random text that the next document must contain, which proves that the document is not an old one."""
    signature: Signature = ""
    """The signature by the device's key over all other fields. Empty for a device without a key."""


class MetricSums(Said, frozen=True):
    """One number that an application has measured many times; sums are added across devices and intervals."""

    count: Count = 0
    sum: SignedSum = 0.0
    squared_sum: SquaredSum = 0.0

    def plus_value(self, value: float) -> "MetricSums":
        """These sums with one more value."""
        return MetricSums(count=self.count + 1, sum=self.sum + value, squared_sum=self.squared_sum + value * value)

    def plus(self, other: "MetricSums") -> "MetricSums":
        """The sum of both `MetricSums`."""
        return MetricSums(
            count=self.count + other.count,
            sum=self.sum + other.sum,
            squared_sum=self.squared_sum + other.squared_sum,
        )


class ModelInterval(Said, frozen=True):
    """Inferences of one version during one interval; counts are added across devices and intervals."""

    model: Short
    version: VersionRef
    inferences: Count
    errors: Count
    """Inferences that raised or answered a value that is not finite. They are among the inferences."""
    rows: Count = 0
    """Rows in the inferences: a request may hold many."""
    refused: Annotated[dict[Short, Count], msgspec.Meta(max_length=16)] = {}
    """Requests and rows that the version cannot accept, by code. They are no inferences."""
    refused_alone: Count = 0
    """The refused requests that stable's signature would have accepted."""
    faults: Annotated[dict[Short, Text], msgspec.Meta(max_length=16)] = {}
    """The words of the first row that failed or was refused, by code, at intervals. They contain no cell of a row."""
    labelled: Count = 0
    """Inferences with a label."""
    correct: Count = 0
    """The labelled inferences of a classifier whose answer equals the label."""
    measured: Count = 0
    """The numbers of a regression that have a label; the sums below are over them."""
    labels_unusable: Count = 0
    """Values that were given as labels but cannot be labels: infinity, text for a regression. Missing labels are not
    counted."""
    labels_unknown: Count = 0
    """Labels of no known class: no version of the model on the device can answer them. They count as neither right
    nor wrong.
    """
    absolute_error_sum: Sum = 0.0
    squared_error_sum: SquaredSum = 0.0
    label_sum: SignedSum = 0.0
    squared_label_sum: SquaredSum = 0.0
    latency_counts: Annotated[tuple[Count, ...], msgspec.Meta(max_length=LATENCY_BUCKETS)] = ()
    """Inferences per bucket of contract.histogram."""
    row_latency_counts: Annotated[tuple[Count, ...], msgspec.Meta(max_length=LATENCY_BUCKETS)] = ()
    """The same with each inference's time divided by its rows. Empty: every inference had one row."""
    predictions: Annotated[dict[Short, Count], msgspec.Meta(max_length=17)] = {}
    """Answers by label, the rarest merged as "other"."""
    features: Annotated[dict[Short, Bins], msgspec.Meta(max_length=MAX_FEATURES)] = {}
    """Inputs of a sample of the inferences by column: counts per bin of the golden set's reference."""
    outputs: Bins = ()
    """Numbers answered, or for a classifier its confidence, of the same sample: counts per bin of the reference."""
    breaches: Annotated[dict[Short, BreachCounts], msgspec.Meta(max_length=MAX_FEATURES)] = {}
    """Cells of the same sample that break the data contract, by column: counts per kind of
    contract.row_contract.BREACHES. A column without any is left out."""
    groups: Annotated[dict[Short, GroupCounts], msgspec.Meta(max_length=MAX_GROUPS + 1)] = {}
    """Answers by group, `column=value`: rows, selected; with a positive label, of them selected; with another label, of
    them selected."""
    compared: Count = 0
    """Rows that this version answered as a shadow."""
    agreed: Count = 0
    """The rows to which stable gave the same answer."""
    divergence: Bins = ()
    """The rows by the distance between both answers: counts per bin of contract.distributions.DIVERGENCE_EDGES."""
    age_s: Elapsed = 0.0
    """The mean age of the answers of late labels. Above 0 the entry contains labels only."""
    metrics: Annotated[dict[Short, MetricSums], msgspec.Meta(max_length=MAX_METRICS)] = {}
    """Numbers that the application measures, by name."""


class Telemetry(Said, frozen=True):
    """What was measured during one interval."""

    protocol: int
    device: Short
    boot: Count
    seq: Count
    interval_s: IntervalS = 0.0
    """The time that was measured; 0 from an agent whose own number for it cannot be."""
    intervals: Annotated[tuple[ModelInterval, ...], msgspec.Meta(max_length=MAX_INTERVALS)] = ()
    rss_mb: Megabytes = 0.0
    cpu_ratio: Cores = 0.0
    """The CPU time of the agent during the interval, as a fraction of one core."""
    temperature_c: Celsius | None = None
    """The temperature of the hottest zone. None if the device has none."""
    swap_stall_ms_max: Milliseconds = 0.0
    """The longest inference in ms that overlapped a swap, since boot."""
    swap_rss_mb: MegabytesMore = 0.0
    """The change of resident memory in MB by the newest swap."""
    bytes_received: Count = 0
    bytes_sent: Count = 0
    signature: Signature = ""
    """The signature by the device's key over all other fields. Empty for a device without a key."""


class Ack(Said, frozen=True):
    """The controller has the report (boot, seq) durably; or it does not know the key that signed a heartbeat."""

    boot: Count
    seq: Count
    heard: bool = True
    """False: the message (boot, seq) was ignored, because no key that counts for the device has signed it."""
    agreement: Annotated[str, msgspec.Meta(max_length=MAX_PUBLIC_KEY_CHARS)] | None = None
    """The controller's public key (PEM, P-256): after this telemetry may carry a code made with it in place of a
    signature. Empty: the controller does not know the key of the code, so telemetry must be signed again. None: no
    change."""
