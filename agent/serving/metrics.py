"""`/metrics`: Prometheus text of what serves. Base units in the name, `_total` for counters.

Decides names and labels; docs/reference/metrics.md lists them. Source: https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Iterator, Mapping

from agent.serving.serving import Serving
from agent.serving.statistics import Statistics
from contract.histogram import upper_edge_us

FAMILIES = {
    "edgeward_inference_requests_total": ("counter", "Requests over the Open Inference Protocol, by result."),
    "edgeward_inference_rows_total": ("counter", "Rows in answered requests."),
    "edgeward_inference_request_seconds_total": ("counter", "Time in answered requests, by part."),
    "edgeward_inference_duration_seconds": ("histogram", "Runs of the model, for every caller."),
    "edgeward_model_serving": ("gauge", "1 for the version that answers now."),
    "edgeward_dropped_total": ("counter", "What limits discarded, by kind."),
    "edgeward_expiry_timestamp_seconds": ("gauge", "When certificates and roles expire, by what, since 1970."),
}


def exposition(
    statistics: Statistics, serving: Mapping[str, Serving], counters: Mapping[str, int], expiries: Mapping[str, int]
) -> bytes:
    """Returns all metric families in Prometheus' text format."""
    lines = {name: [f"# HELP {name} {words}", f"# TYPE {name} {kind}"] for name, (kind, words) in FAMILIES.items()}
    for (model, version), sums in sorted(statistics.versions.items()):
        labels = _labels(model, version)
        requests = lines["edgeward_inference_requests_total"]
        requests.append(f'edgeward_inference_requests_total{{{labels},result="success"}} {sums.requests}')
        requests.append(f'edgeward_inference_requests_total{{{labels},result="fail"}} {sums.failures}')
        lines["edgeward_inference_rows_total"].append(f"edgeward_inference_rows_total{{{labels}}} {sums.rows}")
        for part, ns in (("input", sums.input_ns), ("infer", sums.infer_ns), ("output", sums.output_ns)):
            name = "edgeward_inference_request_seconds_total"
            lines[name].append(f'{name}{{{labels},part="{part}"}} {ns / 1e9:.9f}')
    for model, now in sorted(serving.items()):
        labels = _labels(model, now.version)
        lines["edgeward_model_serving"].append(f"edgeward_model_serving{{{labels}}} 1")
        lines["edgeward_inference_duration_seconds"] += _histogram(labels, now)
    for kind, count in sorted(counters.items()):
        lines["edgeward_dropped_total"].append(f'edgeward_dropped_total{{kind="{_escaped(kind)}"}} {count}')
    for what, at in sorted(expiries.items()):
        lines["edgeward_expiry_timestamp_seconds"].append(
            f'edgeward_expiry_timestamp_seconds{{what="{_escaped(what)}"}} {at}'
        )
    return "".join(f"{line}\n" for family in lines.values() for line in family).encode()


def _histogram(labels: str, serving: Serving) -> Iterator[str]:
    name = "edgeward_inference_duration_seconds"
    counts, seconds = serving.observed.lifetime()
    total = 0
    for bucket, count in enumerate(counts):
        total += count
        edge = upper_edge_us(bucket)
        if edge != float("inf"):
            yield f'{name}_bucket{{{labels},le="{edge / 1e6:.9g}"}} {total}'
    yield f'{name}_bucket{{{labels},le="+Inf"}} {total}'
    yield f"{name}_sum{{{labels}}} {seconds:.9f}"
    yield f"{name}_count{{{labels}}} {total}"


def _labels(model: str, version: str) -> str:
    return f'model_name="{_escaped(model)}",model_version="{_escaped(version)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
