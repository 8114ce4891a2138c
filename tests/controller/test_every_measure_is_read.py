"""Every measure is used: each field that devices send about inferences is read by a rule, a view or a plot."""

import re
from pathlib import Path

import pytest

from contract.messages import MetricSums, ModelInterval, Telemetry
from controller.rollout.model import NAMED_METRICS

ROOT = Path(__file__).parents[2]
VIEWS, FLEET, EVIDENCE = "controller/api/views.py", "controller/api/fleet_view.py", "controller/rollout/evidence.py"
ROWS, NAMED = "controller/rollout/rows.py", "controller/rollout/named.py"
FOLD, FACTS = "controller/reconcile/fold.py", "controller/rollout/facts.py"

BREACHES, FAIRNESS = "controller/drift/breaches.py", "controller/drift/fairness.py"

READ: dict[type, dict[str, tuple[str, str]]] = {
    ModelInterval: {
        "model": (FOLD, "interval.model"),
        "version": (FOLD, "interval.version"),
        "inferences": (EVIDENCE, 'column("inferences")'),
        "errors": (EVIDENCE, 'column("errors")'),
        "rows": (VIEWS, "sums.rows"),
        "refused": (FLEET, "sums.refused"),
        "refused_alone": (VIEWS, "sums.refused_alone"),
        "faults": (FOLD, "interval.faults"),
        "labelled": (EVIDENCE, 'column("labelled")'),
        "correct": (EVIDENCE, 'column("correct")'),
        "measured": (EVIDENCE, 'column("measured")'),
        "labels_unusable": (VIEWS, "sums.labels_unusable"),
        "labels_unknown": (VIEWS, "sums.labels_unknown"),
        "absolute_error_sum": (EVIDENCE, '"absolute_error_sum"'),
        "squared_error_sum": (EVIDENCE, '"squared_error_sum"'),
        "label_sum": (FACTS, "self.label_sum * self.label_sum"),
        "squared_label_sum": (FACTS, "self.squared_label_sum -"),
        "latency_counts": (VIEWS, "sums.latency_counts"),
        "row_latency_counts": (FACTS, "return self.row_latency_counts or"),
        "predictions": (ROWS, "sums.predictions"),
        "features": (VIEWS, "measured.distributions"),
        "outputs": (VIEWS, "measured.distributions"),
        "breaches": (BREACHES, "shape.breaches.items()"),
        "groups": (FAIRNESS, "shape.groups"),
        "compared": (EVIDENCE, 'column("compared")'),
        "agreed": (EVIDENCE, '"agreed"'),
        "divergence": (VIEWS, "measured.divergences"),
        "age_s": (FOLD, "interval.age_s"),
        "metrics": (ROWS, "sums.metrics.get(name)"),
    },
    Telemetry: {
        "protocol": ("controller/broker/inbox.py", "message.protocol"),
        "device": ("controller/broker/inbox.py", "message.device"),
        "boot": ("controller/fleet/traffic.py", "message.boot"),
        "seq": (FOLD, "message.seq"),
        "interval_s": ("controller/fleet/traffic.py", "message.interval_s"),
        "intervals": (FOLD, "message.intervals"),
        "rss_mb": (VIEWS, "newest.rss_mb"),
        "cpu_ratio": (VIEWS, "newest.cpu_ratio"),
        "temperature_c": (VIEWS, "newest.temperature_c"),
        "swap_stall_ms_max": (VIEWS, "newest.swap_stall_ms_max"),
        "swap_rss_mb": (VIEWS, "newest.swap_rss_mb"),
        "bytes_received": ("controller/fleet/traffic.py", "message.bytes_received"),
        "bytes_sent": (VIEWS, "newest.bytes_sent"),
        "signature": ("contract/keys.py", "message.signature"),
    },
    MetricSums: {
        "count": (ROWS, "one.count"),
        "sum": (ROWS, "one.sum"),
        "squared_sum": (ROWS, "one.squared_sum"),
    },
}
"""Where each field ends up, and the words there that read it. Adding up does not count as reading: `Sums.plus` is not
named."""


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
def test_every_field_is_listed_with_the_place_that_reads_it(kind: type) -> None:
    fields = kind.__struct_fields__  # type: ignore[attr-defined]
    assert list(READ[kind]) == list(fields), "name a reader here, or send the field no more"


@pytest.mark.parametrize(
    ("field", "place", "words"),
    [(f"{kind.__name__}.{field}", *where) for kind, fields in READ.items() for field, where in fields.items()],
)
def test_the_listed_place_reads_the_field(field: str, place: str, words: str) -> None:
    assert re.search(re.escape(words), (ROOT / place).read_text()), f"{field}: {place} has no {words!r} any more"


def test_rules_judge_numbers_of_applications_and_answers_of_classifiers() -> None:
    """Views showed these numbers but no rule used them: a release that doubled the scrap was confirmed."""
    assert {rule.split("_")[0] for rule in NAMED_METRICS} == {"metric", "class"}
    text = (ROOT / NAMED).read_text()
    assert "metric_columns(rule.name)" in text
    assert "class_column(rule.name)" in text
