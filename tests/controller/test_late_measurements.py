"""Labels that came later, and numbers of applications' own, as a controller counts them."""

from typing import Any

from msgspec.structs import replace

from contract.messages import MAX_METRICS, MetricSums, ModelInterval, VersionRef
from controller.api.views import metric_views, version_measured
from controller.reconcile.fold import MAX_PREDICTIONS, fold
from controller.reconcile.measured import HISTORY_S
from controller.reconcile.world import World
from controller.rollout.facts import BUCKET_S, Sums
from tests.controller.reconcile_worlds import V1, V2, campaign, interval, telemetry, world

NOW = 1_000_000.0


def late(version: VersionRef, age_s: float, **fields: Any) -> ModelInterval:
    return interval(version, **{"inferences": 0, "errors": 0, "labelled": 4, "correct": 1, "age_s": age_s, **fields})


def folded(*intervals: ModelInterval) -> World:
    made = world(campaign("a"))
    fold(made, *telemetry(*intervals), NOW)
    return made


def test_a_late_label_counts_for_the_release_and_the_minute_of_its_answer() -> None:
    made = folded(late(V2, 3600.0), late(V1, 7200.0))
    table = made.measured.rows["r"].table()
    treated, control = ((NOW - age_s) // BUCKET_S * BUCKET_S for age_s in (3600.0, 7200.0))
    labelled = table.column("labelled").tolist()
    assert list(zip(table.start.tolist(), table.treated.tolist(), labelled, strict=True)) == [
        (treated, True, 4), (control, False, 4),
    ]  # fmt: skip
    assert made.measured.totals["a", "m", 2].accuracy == 0.25
    assert made.measured.totals["a", "m", 1].labelled == 4


def test_labels_of_answers_older_than_all_evidence_count_for_their_release_only() -> None:
    made = world(replace(campaign("a"), began_at=NOW - 60.0))
    fold(made, *telemetry(late(V2, 3600.0), late(V1, HISTORY_S + 120.0)), NOW)
    assert "r" not in made.measured.rows
    assert made.measured.totals["a", "m", 2].labelled == 4


def test_metrics_of_an_application_are_summed_by_release_and_shown_with_their_mean() -> None:
    sums = MetricSums().plus_value(1.0).plus_value(3.0)
    made = folded(interval(V2, metrics={"scrap_rate": sums}), interval(V2, metrics={"scrap_rate": sums}))
    shown = metric_views(made.measured.totals["a", "m", 2])["scrap_rate"]
    assert (shown.count, shown.mean, shown.deviation) == (4, 2.0, 1.0)


def test_invented_names_of_a_device_use_no_more_memory() -> None:
    sums = Sums()
    for number in range(3 * MAX_METRICS):
        sums = sums.plus(interval(V2, metrics={f"m{number}": MetricSums(count=1, sum=1.0)}))
    assert len(sums.metrics) == MAX_METRICS


def test_answers_inputs_and_divergence_of_a_version_are_summed_over_the_fleet_and_shown() -> None:
    told = interval(V2, predictions={"1": 3, "0": 1}, features={"a": (1, 2)}, outputs=(4,), divergence=(0, 5))
    found = version_measured(folded(told, told), "m", 2)
    assert (found.predictions, found.features, found.outputs) == ({"0": 2, "1": 6}, {"a": (2, 4)}, (8,))
    assert found.divergence == (0, 10)
    many = [interval(V2, predictions={f"{number}": 1}) for number in range(MAX_PREDICTIONS + 9)]
    predictions = version_measured(folded(*many), "m", 2).predictions
    assert (len(predictions), predictions["other"]) == (MAX_PREDICTIONS + 1, 9)


def test_repeated_telemetry_counts_once() -> None:
    made = world(campaign("a"))
    for seq in (1, 1, 2):
        fold(made, *telemetry(interval(V2), seq=seq), NOW)
    assert made.measured.totals["a", "m", 2].inferences == 20
