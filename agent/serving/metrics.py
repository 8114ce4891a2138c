"""`/metrics`: Prometheus text of a device. Base units in the name, `_total` for counters.

Decides names and labels; docs/reference/metrics.md lists them. Refuses to know where facts are read.
Source: https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

import msgspec

from agent.ports import Lives
from agent.serving.lives import STARTING
from agent.serving.serving import Serving
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.histogram import LATENCY_BUCKETS, upper_edge_us
from contract.messages import Phase

FAMILIES = {
    "edgeward_build_info": ("gauge", "1; versions of the agent and of what it runs on."),
    "edgeward_link_up": ("gauge", "1 while the link to the controller is up, else 0."),
    "edgeward_link_age_seconds": ("gauge", "Since the link came up, or went down."),
    "edgeward_model_phase": ("gauge", "1 for the phase that a model is in, 0 for the others."),
    "edgeward_model_serving": ("gauge", "1 for the version that answers by default, 0 for others that are loaded."),
    "edgeward_inference_requests_total": ("counter", "Requests over the Open Inference Protocol, by result."),
    "edgeward_inference_rows_total": ("counter", "Rows in answered requests."),
    "edgeward_inference_request_seconds_total": ("counter", "Time in answered requests, by part."),
    "edgeward_inference_duration_seconds": ("histogram", "Runs of the model, for every caller."),
    "edgeward_inference_failures_total": ("counter", "Inferences that failed and requests that were refused, by code."),
    "edgeward_labels_total": ("counter", "Labels that came after their answer, by what became of them."),
    "edgeward_application_metric": ("summary", "Numbers that applications report of their own, by name."),
    "edgeward_sensor_up": ("gauge", "1 while a sensor's source is open, else 0; absent until it was opened."),
    "edgeward_sensor_rows_total": ("counter", "Rows of a sensor, by result."),
    "edgeward_sensor_failures_total": ("counter", "How often a sensor's source failed."),
    "edgeward_sensor_row_age_seconds": ("gauge", "Since the newest row of a sensor."),
    "edgeward_sink_up": ("gauge", "1 while a sink takes predictions, else 0; absent until it was given one."),
    "edgeward_sink_predictions_total": ("counter", "Predictions that a sink was given, by result."),
    "edgeward_sink_failures_total": ("counter", "Attempts to deliver that failed."),
    "edgeward_sink_delivery_age_seconds": ("gauge", "Since the newest delivery of a sink."),
    "edgeward_dropped_total": ("counter", "What limits discarded, by kind."),
    "edgeward_expiry_timestamp_seconds": ("gauge", "When certificates and roles expire, by what, since 1970."),
    "process_cpu_seconds_total": ("counter", "CPU time of the agent."),
    "process_resident_memory_bytes": ("gauge", "Resident memory of the agent."),
    "process_open_fds": ("gauge", "Files and sockets that the agent has open."),
    "process_max_fds": ("gauge", "Files and sockets that it may have open."),
    "process_start_time_seconds": ("gauge", "When the agent started, since 1970."),
}
LE_EVERY = 2
"""Every second edge of contract.histogram is exported: powers of two, from 1 us. All edges would make a page twice as
long."""
ROLES = ("stable", "trial")

Sample = tuple[str, Mapping[str, str], float]


class ModelFacts(msgspec.Struct, frozen=True):
    """One model: its phase, and (role, version) of each version in memory."""

    phase: str
    loaded: tuple[tuple[str, Serving], ...]


class Process(msgspec.Struct, frozen=True):
    """What the operating system says about the agent."""

    cpu_s: float
    rss_bytes: float
    open_fds: int
    max_fds: int
    started_at: float
    """Seconds since 1970."""


class Facts(msgspec.Struct, frozen=True):
    """The facts of a device besides its slots. Unknown facts are left out."""

    counters: Mapping[str, int] = {}
    expiries: Mapping[str, int] = {}
    models: Mapping[str, ModelFacts] = {}
    link: tuple[bool, float] | None = None
    """Whether the link is up, and for how many seconds it has been up or down."""
    lives: Lives = ((), ())
    process: Process | None = None
    build: Mapping[str, str] = {}


def exposition(statistics: Statistics, slots: Mapping[str, ModelSlot], facts: Facts) -> bytes:
    """Returns all metric families in Prometheus' text format."""
    lines = {name: [f"# HELP {name} {words}", f"# TYPE {name} {kind}"] for name, (kind, words) in FAMILIES.items()}
    for samples in (
        _of_device(facts),
        _of_requests(statistics),
        _of_slots(slots, facts),
        _of_lives(facts.lives),
        _of_process(facts.process),
    ):
        for name, labels, value in samples:
            family = name if name in FAMILIES else name.rpartition("_")[0]
            lines[family].append(f"{name}{_shown(labels)} {_number(value)}")
    return "".join(f"{line}\n" for family in lines.values() for line in family).encode()


def _of_device(facts: Facts) -> Iterator[Sample]:
    if facts.build:
        yield "edgeward_build_info", facts.build, 1
    if facts.link is not None:
        yield "edgeward_link_up", {}, facts.link[0]
        yield "edgeward_link_age_seconds", {}, facts.link[1]
    for model, known in sorted(facts.models.items()):
        for phase in get_args(Phase):
            yield "edgeward_model_phase", {"model_name": model, "phase": phase}, phase == known.phase
    for kind, count in sorted(facts.counters.items()):
        yield "edgeward_dropped_total", {"kind": kind}, count
    for what, at in sorted(facts.expiries.items()):
        yield "edgeward_expiry_timestamp_seconds", {"what": what}, at


def _of_requests(statistics: Statistics) -> Iterator[Sample]:
    for (model, version), sums in sorted(statistics.versions.items()):
        labels = _labels(model, version)
        yield "edgeward_inference_requests_total", {**labels, "result": "success"}, sums.requests
        yield "edgeward_inference_requests_total", {**labels, "result": "fail"}, sums.failures
        yield "edgeward_inference_rows_total", labels, sums.rows
        for part, ns in (("input", sums.input_ns), ("infer", sums.infer_ns), ("output", sums.output_ns)):
            yield "edgeward_inference_request_seconds_total", {**labels, "part": part}, ns / 1e9


def _of_slots(slots: Mapping[str, ModelSlot], facts: Facts) -> Iterator[Sample]:
    for model, slot in sorted(slots.items()):
        known = facts.models.get(model)
        loaded = known.loaded if known is not None else tuple((ROLES[0], each) for each in slot.versions)
        for role, serving in loaded:
            labels = _labels(model, serving.version)
            yield "edgeward_model_serving", {**labels, "role": role}, serving is slot.serving
            yield from _histogram(labels, serving)
            for (reason, code), count in sorted(serving.observed.failed.copy().items()):
                yield "edgeward_inference_failures_total", {**labels, "reason": reason, "code": code}, count
        for result, count in sorted(slot.truth.results.copy().items()):
            yield "edgeward_labels_total", {"model_name": model, "result": result}, count
        for name, sums in sorted(slot.truth.metrics.copy().items()):
            labels = {"model_name": model, "name": name}
            yield "edgeward_application_metric_sum", labels, sums.sum
            yield "edgeward_application_metric_count", labels, sums.count


def _of_lives(lives: Lives) -> Iterator[Sample]:
    sensors, sinks = lives
    for each in sensors:
        labels = {"sensor": each.name, "model_name": each.model}
        if each.state != STARTING:
            yield "edgeward_sensor_up", labels, each.state == "running"
        for result, count in (
            ("answered", each.answered), ("refused", each.refused), ("unserved", each.unserved),
        ):  # fmt: skip
            yield "edgeward_sensor_rows_total", {**labels, "result": result}, count
        yield "edgeward_sensor_failures_total", labels, each.failures
        if each.row_age_s is not None:
            yield "edgeward_sensor_row_age_seconds", labels, each.row_age_s
    for sink in sinks:
        labels = {"sink": sink.name}
        if sink.state != STARTING:
            yield "edgeward_sink_up", labels, sink.state == "running"
        yield "edgeward_sink_predictions_total", {**labels, "result": "delivered"}, sink.delivered
        yield "edgeward_sink_predictions_total", {**labels, "result": "undelivered"}, sink.undelivered
        yield "edgeward_sink_failures_total", labels, sink.failures
        if sink.delivered_age_s is not None:
            yield "edgeward_sink_delivery_age_seconds", labels, sink.delivered_age_s


def _of_process(process: Process | None) -> Iterable[Sample]:
    if process is None:
        return ()
    return (
        ("process_cpu_seconds_total", {}, process.cpu_s),
        ("process_resident_memory_bytes", {}, process.rss_bytes),
        ("process_open_fds", {}, process.open_fds),
        ("process_max_fds", {}, process.max_fds),
        ("process_start_time_seconds", {}, process.started_at),
    )


def _histogram(labels: Mapping[str, str], serving: Serving) -> Iterator[Sample]:
    name = "edgeward_inference_duration_seconds"
    counts, seconds = serving.observed.lifetime()
    for bucket in range(0, LATENCY_BUCKETS - 1, LE_EVERY):
        edge_s = upper_edge_us(bucket) / 1e6
        yield f"{name}_bucket", {**labels, "le": f"{edge_s:.9g}"}, sum(counts[: bucket + 1])
    yield f"{name}_bucket", {**labels, "le": "+Inf"}, sum(counts)
    yield f"{name}_sum", labels, seconds
    yield f"{name}_count", labels, sum(counts)


def _labels(model: str, version: str) -> dict[str, str]:
    return {"model_name": model, "model_version": version}


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) or value == int(value) else f"{value:.9f}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
