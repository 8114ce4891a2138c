"""Edges of the rules of a rollout: ratios, sums, and what is judged exactly at each limit."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from contract.messages import ModelInterval
from contract.sequential import LONGEST_DISTANCE, beyond_chance, radius, student_distance, variance_of_ratio
from controller.rollout import evidence
from controller.rollout.analysis import judge_all
from controller.rollout.check import check_task
from controller.rollout.facts import BUCKET_S, Sums, total
from controller.rollout.model import DEVICE_METRICS, Rollout, Rule
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict
from tests.controller.rollout_worlds import DEVICES, REFS, STRATEGY, cells, measured, rollout, sums, targets
from tests.controller.rule_verdicts import Cell, fleet, looked_at, verdict, word

# Ratios of devices.


def test_a_ratio_at_its_threshold_passes_and_one_device_more_fails() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.25)
    assert word(rule, succeeded=3, failed=1) == "pass"
    assert word(rule, succeeded=2, failed=1) == "fail"
    assert word(replace(rule, threshold=0.0), succeeded=3) == "pass"
    assert word(replace(rule, threshold=0.0)) == "inconclusive"


def test_pending_devices_count_as_future_successes() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.25, min_samples=5)
    assert word(rule, failed=1, succeeded=1, pending=2) == "inconclusive"
    assert word(rule, failed=2, succeeded=1, pending=1) == "fail", "2 of 4 whatever the pending one does"
    assert word(rule, failed=1, pending=2) == "fail"
    assert word(rule, failed=1, pending=3) == "inconclusive"
    assert verdict(rule, failed=1, pending=3).detail == "1 decided devices, 5 needed"


def test_a_ratio_is_judged_once_there_is_the_minimum_of_decided_devices() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.5, min_samples=4)
    assert word(rule, succeeded=3) == "inconclusive"
    assert word(rule, succeeded=4) == "pass"
    assert word(rule, succeeded=2, failed=2) == "pass"


def test_each_ratio_counts_its_own_devices_and_names_them() -> None:
    counts = {"succeeded": 2, "failed": 6, "rejected": 4, "silent": 3}
    for metric, sentence in (
        ("failed_ratio", "6 of 8 decided devices failed, 10% allowed"),
        ("rejected_ratio", "4 of 8 decided devices were rejected by their device, 10% allowed"),
        ("silent_ratio", "3 of 8 decided devices fell silent, 10% allowed"),
    ):
        found = verdict(Rule(metric=metric, threshold=0.1), **counts)  # type: ignore[arg-type]
        assert (found.metric, found.word, found.detail) == (metric, "fail", sentence)
    assert set(DEVICE_METRICS) == {"failed_ratio", "rejected_ratio", "silent_ratio"}


def judged(rule: Rule, words: dict[str, str], **changes: Any) -> RuleVerdict:
    made = rollout(replace(STRATEGY, rules=(rule,)), **changes)
    outcomes = dict.fromkeys(DEVICES, "waiting") | words
    (found,) = judge_all(made, Rows(), outcomes, 0.0)  # type: ignore[arg-type]
    return found


def test_every_kind_of_failure_counts_except_those_before_a_resume() -> None:
    words = {"d0": "failed", "d1": "rejected", "d2": "silent", "d3": "regressed", "d4": "succeeded"}
    fails = Rule(metric="failed_ratio", threshold=0.0)
    assert judged(fails, words).detail.startswith("4 of 5")
    assert judged(fails, words, acknowledged=("d0", "d4")).detail.startswith("3 of 4")
    assert judged(replace(fails, metric="rejected_ratio"), words).detail.startswith("1 of 5")
    assert judged(replace(fails, metric="silent_ratio"), words).detail.startswith("1 of 5")
    others = {"d0": "failed", "d1": "absent", "d2": "stopped", "d3": "waiting", "d4": "pending"}
    assert judged(fails, others).detail.startswith("1 of 1")
    half = replace(fails, threshold=0.5)
    assert judged(half, others).word == "fail"
    assert judged(half, {"d0": "failed", "d1": "pending"}).word == "fail"
    assert judged(replace(half, min_samples=3), {"d0": "failed", "d1": "pending"}).word == "inconclusive"


# Measured rules.


def test_evidence_is_enough_from_the_minimum_on() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert word(rule, Cell(sums(49))) == "inconclusive"
    assert word(rule, Cell(sums(50))) == "pass"
    assert verdict(rule, Cell(sums(49))).detail == "49 inferences of the release, 50 needed"
    skipped = replace(rule, on_missing="skip")
    assert verdict(skipped).detail == "skipped: no inferences of the release"
    assert word(skipped, Cell(sums(1))) == "inconclusive"
    assert word(replace(skipped, min_samples=1), Cell(sums(1))) == "pass"


def test_errors_are_those_of_the_release_in_all_cells() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert word(rule, Cell(sums(100, errors=0), sums(100, errors=100))) == "pass"
    found = verdict(rule, Cell(sums(300, errors=100)), Cell(sums(100, errors=50)))
    assert (found.word, found.detail) == ("fail", "150 of 400 inferences failed, 10.00% allowed")


def test_a_comparison_needs_both_sides() -> None:
    accuracy = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    right = sums(400, accuracy=0.9)
    assert word(accuracy, Cell(right, sums(49, accuracy=0.9))) == "inconclusive"
    assert word(accuracy, Cell(sums(49, accuracy=0.9), right)) == "inconclusive"
    assert word(accuracy, Cell(right)) == "inconclusive"
    assert word(replace(accuracy, min_samples=1), Cell(right)) == "inconclusive"
    latency = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    assert word(latency) == "inconclusive"
    assert word(replace(latency, min_samples=1)) == "inconclusive"
    assert word(latency, Cell(sums(400))) == "inconclusive"
    assert word(latency, Cell(sums(400), sums(49))) == "inconclusive"
    assert word(latency, Cell(sums(50), sums(400))) == "pass"


def test_a_latency_at_its_ratio_passes() -> None:
    rule = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    assert word(rule, *fleet(sums(1000, bucket=12), sums(1000, bucket=10))) == "pass"
    found = verdict(rule, *fleet(sums(1000, bucket=14), sums(1000, bucket=10)))
    assert found.word == "fail"
    assert found.detail.startswith("p95 of the time for a row 128 us, 4.00 times [")


def test_a_few_slow_answers_within_chance_trip_no_latency_rule() -> None:
    rule = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    some = sums(93, bucket=10).plus(sums(7, bucket=20))
    assert word(rule, *fleet(sums(100), sums(100)), Cell(some, device="slow", minute=1)) == "pass"
    assert word(rule, *fleet(sums(60, bucket=10).plus(sums(40, bucket=20)), sums(100, bucket=10))) == "fail"


def test_requests_of_many_rows_are_compared_by_their_time_for_one_row() -> None:
    rule = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    bulk = replace(sums(100, bucket=30), row_latency_counts=sums(100, bucket=10).latency_counts)
    assert word(rule, *fleet(bulk, sums(100, bucket=10))) == "pass"
    both = bulk.plus(sums(50, bucket=12))
    assert both.row_latency_counts[10:13] == (100, 0, 50)
    assert sum(both.latency_counts) == 150


def test_latency_is_the_95th_percentile_of_each_device_compared_with_its_kind() -> None:
    slow = sums(6, bucket=20).plus(sums(94, bucket=10))
    ratio = evidence.latency_ratio(looked_at(*fleet(slow, sums(100))))
    assert ratio is not None
    assert ratio.value > math.log(16), "a twentieth and more is in the slow bucket"
    assert evidence.latency_ratio(looked_at(Cell(sums(1000, bucket=30)))) is None
    same = evidence.latency_ratio(looked_at(*fleet(sums(7), sums(9))))
    assert same is not None
    assert (same.value, same.samples, same.samples_beside) == (pytest.approx(0.0), 35, 180)


def regressing(count: int, error: float, label: float = 10.0) -> Sums:
    """Labels that lie `label` either way of 0, and answers off by `error` on average, as normal errors are."""
    return Sums(
        inferences=count,
        labelled=count,
        measured=count,
        absolute_error_sum=count * error,
        squared_error_sum=count * error * error * math.pi / 2,
        label_sum=0.0,
        squared_label_sum=count * label * label,
    )


def test_a_regression_is_compared_by_the_size_of_its_errors_in_the_same_cells() -> None:
    rule = Rule(metric="error_increase", threshold=0.1, min_samples=100)
    assert word(rule, *fleet(regressing(500, 1.0), regressing(500, 1.0))) == "pass"
    assert word(rule, *fleet(regressing(500, 1.1), regressing(500, 1.0))) == "pass"
    found = verdict(rule, *fleet(regressing(500, 3.0), regressing(500, 1.0)))
    assert found.word == "fail"
    assert found.detail.startswith("mean absolute error +200.0% [")
    assert word(rule, *fleet(regressing(500, 1000.0), regressing(500, 1.0))) == "fail"
    assert word(rule, Cell(regressing(99, 1000.0), regressing(500, 1.0))) == "inconclusive"
    assert word(rule, Cell(regressing(500, 1000.0)), Cell(Sums(), regressing(500, 1.0), minute=1)) == "inconclusive"
    assert word(rule, Cell(regressing(500, 0.0), regressing(500, 0.0))) == "pass"


def test_a_regression_has_an_error_and_r2_and_a_classifier_has_an_accuracy() -> None:
    found = regressing(100, 2.0)
    assert (found.accuracy, found.mean_absolute_error) == (None, 2.0)
    assert found.r2 == pytest.approx(1 - 4 * math.pi / 2 / 100)
    assert replace(found, label_sum=1000.0).r2 is None
    right = sums(100, accuracy=0.8)
    assert (right.accuracy, right.mean_absolute_error, right.r2) == (0.8, None, None)
    assert evidence.accuracy_drop(looked_at(Cell(found, found))) is None


def test_errors_that_the_compared_version_has_too_do_not_fail_a_release() -> None:
    rule = Rule(metric="error_ratio", threshold=0.02, min_samples=30)
    sick = verdict(rule, *fleet(sums(300, errors=60), sums(300, errors=60)))
    assert (sick.word, "+0.00% [" in sick.detail) == ("pass", True)
    assert word(rule, *fleet(sums(300, errors=60), sums(300))) == "fail"
    assert word(rule, *fleet(sums(300, errors=180), sums(300, errors=60))) == "fail"
    always = []
    for number in range(40):
        now = sums(300, errors=60 if number % 4 == 0 else 0)
        canary = number in (0, 4, 8, 9, 10)
        always.append(Cell(control=now, device=f"d{number}", minute=0))
        always.append(Cell(now if canary else Sums(), Sums() if canary else now, f"d{number}", 1))
    assert word(rule, *always) == "pass", "these devices have failed as much before the release"


@pytest.mark.parametrize(
    ("task", "rule", "instead"),
    [("regression", "accuracy_drop", "error_increase"), ("classification", "error_increase", "accuracy_drop")],
)
def test_a_rule_that_a_task_cannot_measure_is_refused_with_a_replacement(task: str, rule: str, instead: str) -> None:
    wrong = replace(STRATEGY, rules=(Rule(metric=rule, threshold=0.1),))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=f"use {instead} in its place"):
        check_task(wrong, task)
    check_task(wrong, "other")
    check_task(replace(wrong, rules=(*wrong.rules, Rule(metric=instead, threshold=0.1))), task)  # type: ignore[arg-type]


def test_agreement_counts_the_answers_of_both_sides() -> None:
    rule = Rule(metric="agreement", threshold=0.9, min_samples=150)
    assert word(rule, Cell(sums(100, agreed=1.0), sums(49, agreed=1.0))) == "inconclusive"
    found = verdict(rule, Cell(sums(300, agreed=0.5), sums(100, agreed=0.5)))
    assert found.word == "fail"
    assert found.detail.startswith("50.0% [")
    assert found.detail.endswith("of 400 answers of both versions agree on 1 device, 90.0% asked for")
    assert word(rule, Cell(sums(300, agreed=0.9))) == "pass"
    assert word(rule, Cell(sums(300, agreed=1.0))) == "pass"


def test_pairs_on_one_device_are_weighted_by_the_common_count_of_a_minute() -> None:
    big = Cell(sums(100, accuracy=0.8), sums(300, accuracy=0.9), "d", 1)
    small = Cell(sums(10, accuracy=0.5), sums(10, accuracy=1.0), "d", 2)
    unmatched = [Cell(sums(50, accuracy=0.1), device="d", minute=0), Cell(Sums(), sums(50, accuracy=0.1), "d", 4)]
    found = evidence.accuracy_drop(looked_at(*unmatched, big, small))
    assert found is not None
    weights = (100 * 300 / 400, 10 * 10 / 20)
    assert found.value == pytest.approx((weights[0] * 0.1 + weights[1] * 0.5) / sum(weights))
    assert (found.samples, found.samples_beside, found.paired) == (110, 310, True)
    assert evidence.accuracy_drop(looked_at()) is None


def test_the_variance_is_never_below_that_of_the_samples_alone() -> None:
    alike = evidence.accuracy_drop(looked_at(*fleet(sums(100, accuracy=0.8), sums(100, accuracy=0.8))))
    assert alike is not None
    assert alike.variance >= 0.999 * variance_of_ratio(80, 100) * (1 / 5 + 1 / 20)


def test_an_interval_ends_where_the_test_would_trip_and_is_longer_for_few_devices() -> None:
    for variance in (1e-6, 1e-4, 1e-2):
        half = radius(variance, 0.02)
        assert beyond_chance(half * 1.001, variance, 0.02)
        assert not beyond_chance(half * 0.999, variance, 0.02)
        assert radius(variance, 0.02, 10.0) > radius(variance, 0.02, 100.0) > half
    assert student_distance(3.0, 10.0) == pytest.approx(3.957, abs=0.02), "of the t distribution, by Wallace"
    assert student_distance(30.0, 3.0) == LONGEST_DISTANCE


def test_each_stratum_is_judged_by_its_own_evidence_and_has_a_part_of_the_error_rate() -> None:
    fleet = [*targets(["a1", "a2"], "arm"), *targets(["x1", "x2"], "x86")]
    rules = (
        Rule(metric="failed_ratio", threshold=0.0),
        Rule(metric="error_ratio", threshold=0.1, min_samples=50, scope="stratum"),
    )
    made = rollout(replace(STRATEGY, rules=rules), among=fleet)
    outcomes: Any = {"a1": "failed", "a2": "waiting", "x1": "succeeded", "x2": "succeeded"}
    said = measured(("a1", 0.0, sums(500, errors=400), None), ("x1", 0.0, sums(500), None))
    found = judge_all(made, said, outcomes, 1.0)
    assert [(each.metric, each.stratum, each.rule, each.word) for each in found] == [
        ("failed_ratio", "", 0, "fail"),
        ("error_ratio", "arm", 1, "fail"),
        ("error_ratio", "x86", 1, "pass"),
    ]
    assert found[0].detail.startswith("1 of 3")
    stopped = judge_all(replace(made, stopped_strata=("arm",)), said, outcomes, 1.0)
    assert [(each.stratum, each.word) for each in stopped] == [("", "pass"), ("x86", "pass")]


def test_a_window_starts_with_its_first_whole_bucket() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50, judged_s=120.0)
    made = rollout(replace(STRATEGY, rules=(rule,)))
    outcomes: Any = dict.fromkeys(DEVICES, "waiting")

    def at(now: float, changed: Rollout = made) -> str:
        return judge_all(changed, cells(sums(500), at=5 * BUCKET_S), outcomes, now)[0].word

    assert at(0.0) == "pass"
    assert at(5 * BUCKET_S + 119.9 - BUCKET_S) == "pass"
    assert at(5 * BUCKET_S + 120.0 + 0.1) == "inconclusive"
    endless = rollout(replace(STRATEGY, rules=(replace(rule, judged_s=0.0),)))
    assert at(1e6, endless) == "pass"
    assert at(1e6, replace(endless, evidence_since=5 * BUCKET_S + 1)) == "inconclusive"
    assert at(1e6, replace(endless, evidence_since=3 * BUCKET_S + 1)) == "pass"


# Sums.


def test_sums_are_added_field_by_field_and_start_at_zero() -> None:
    one = Sums(1, 2, 3, 4, (5, 6), 7, 8)
    assert one.plus(Sums(10, 20, 30, 40, (50,), 70, 80)) == Sums(11, 22, 33, 44, (55, 6), 77, 88)
    assert Sums().plus(one) == one
    assert total([one, one, Sums()]) == Sums(2, 4, 6, 8, (10, 12), 14, 16)
    assert BUCKET_S == 60.0


def test_measurements_of_a_device_count_for_the_release_or_for_the_version_beside_it() -> None:
    interval = ModelInterval(model="m", version=REFS[2], inferences=3, errors=1)
    made = Rows()
    made.add("d", 61.0, interval, treated=True)
    made.add("d", 119.0, interval, treated=True)
    made.add("d", 119.0, interval, treated=False)
    table = made.table()
    assert table.column("inferences").tolist() == [6.0, 3.0]
    assert (table.start.tolist(), table.treated.tolist()) == ([60.0, 60.0], [True, False])
