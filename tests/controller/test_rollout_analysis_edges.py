"""Edges of the rules of a rollout: ratios, sums, and what is judged exactly at each limit."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from contract.messages import ModelInterval
from contract.sequential import beyond_chance, variance_of_ratio
from controller.rollout import evidence
from controller.rollout.analysis import RuleVerdict, judge_all
from controller.rollout.check import check_task
from controller.rollout.facts import BUCKET_S, MAX_BUCKETS, Cell, Sums
from controller.rollout.model import DEVICE_METRICS, Rollout, Rule
from tests.controller.rollout_worlds import DEVICES, REFS, STRATEGY, cells, rollout, sums, targets
from tests.controller.rule_verdicts import verdict, word

# Ratios of devices.


def test_a_ratio_at_its_threshold_passes_and_one_device_more_fails() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.25)
    assert word(rule, succeeded=3, failed=1) == "pass"
    assert word(rule, succeeded=2, failed=1) == "fail"
    assert word(replace(rule, threshold=0.0), succeeded=3) == "pass"
    assert word(replace(rule, threshold=0.0)) == "inconclusive"


def test_pending_devices_count_as_if_they_will_all_succeed() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.25, min_samples=5)
    assert word(rule, failed=1, succeeded=1, pending=2) == "inconclusive"
    assert word(rule, failed=2, succeeded=1, pending=1) == "fail", "2 of 4 whatever the pending one does"
    assert word(rule, failed=1, pending=2) == "fail"
    assert word(rule, failed=1, pending=3) == "inconclusive"
    assert verdict(rule, failed=1, pending=3).detail == "1 decided devices, 5 needed"


def test_a_ratio_is_judged_from_the_minimum_of_decided_devices_on() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.5, min_samples=4)
    assert word(rule, succeeded=3) == "inconclusive"
    assert word(rule, succeeded=4) == "pass"
    assert word(rule, succeeded=2, failed=2) == "pass"


def test_each_ratio_counts_its_own_devices_and_says_so() -> None:
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
    (found,) = judge_all(made, {}, outcomes, 0.0)  # type: ignore[arg-type]
    return found


def test_every_kind_of_failure_counts_and_what_was_resumed_over_does_not() -> None:
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


def test_there_is_enough_from_the_minimum_on() -> None:
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
    assert word(rule, Cell(sums(100, bucket=12), sums(100, bucket=10))) == "pass"
    found = verdict(rule, Cell(sums(100, bucket=14), sums(100, bucket=10)))
    words = "p95 128 us for a row against 32 us beside it, 2.0 times allowed; 100 of 100 took longer than that"
    assert (found.word, found.detail) == ("fail", words)


def test_a_few_slow_answers_that_chance_explains_trip_no_latency_rule() -> None:
    rule = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    some = sums(93, bucket=10).plus(sums(7, bucket=20))
    assert word(rule, Cell(some, sums(100, bucket=10))) == "pass"
    assert word(rule, Cell(sums(60, bucket=10).plus(sums(40, bucket=20)), sums(100, bucket=10))) == "fail"


def test_requests_of_many_rows_are_compared_by_their_time_for_one_row() -> None:
    rule = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    bulk = replace(sums(100, bucket=30), row_latency_counts=sums(100, bucket=10).latency_counts)
    assert word(rule, Cell(bulk, sums(100, bucket=10))) == "pass"
    both = bulk.plus(sums(50, bucket=12))
    assert both.row_latency_counts[10:13] == (100, 0, 50)
    assert sum(both.latency_counts) == 150


def test_latency_is_the_95th_percentile_of_cells_that_have_both_sides() -> None:
    slow = sums(6, bucket=20).plus(sums(94, bucket=10))
    few = sums(5, bucket=20).plus(sums(95, bucket=10))
    alone = Cell(sums(1000, bucket=30))
    ratio = evidence.latency_ratio([Cell(slow, few), alone], 0.95, 2.0)
    assert ratio == evidence.LatencyRatio(1024.0, 32.0, 6, 100, 100)
    assert evidence.latency_ratio([alone], 0.95, 2.0) is None
    assert evidence.latency_ratio([Cell(sums(7), sums(9))], 0.5, 1.0) == evidence.LatencyRatio(32.0, 32.0, 0, 7, 9)


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
    assert word(rule, Cell(regressing(500, 1.0), regressing(500, 1.0))) == "pass"
    assert word(rule, Cell(regressing(500, 1.1), regressing(500, 1.0))) == "pass"
    found = verdict(rule, Cell(regressing(500, 1000.0), regressing(500, 1.0)))
    assert found.word == "fail"
    assert found.detail.startswith("mean absolute error 1000 against 1 on the same kind of device")
    assert word(rule, Cell(regressing(99, 1000.0), regressing(500, 1.0))) == "inconclusive"
    assert word(rule, Cell(regressing(500, 1000.0)), Cell(Sums(), regressing(500, 1.0))) == "inconclusive"
    assert word(rule, Cell(regressing(500, 0.0), regressing(500, 0.0))) == "pass"


def test_a_regression_has_an_error_and_r2_and_no_accuracy_and_a_classifier_the_other_way_round() -> None:
    found = regressing(100, 2.0)
    assert (found.accuracy, found.mean_absolute_error) == (None, 2.0)
    assert found.r2 == pytest.approx(1 - 4 * math.pi / 2 / 100)
    assert replace(found, label_sum=1000.0).r2 is None
    right = sums(100, accuracy=0.8)
    assert (right.accuracy, right.mean_absolute_error, right.r2) == (0.8, None, None)
    assert evidence.accuracy_drop([Cell(found, found)]) is None


def test_errors_that_what_runs_beside_has_too_convict_no_release() -> None:
    rule = Rule(metric="error_ratio", threshold=0.02, min_samples=30)
    sick = Cell(sums(300, errors=60), sums(300, errors=60))
    found = verdict(rule, sick)
    assert (found.word, "beside it 60 of 300 failed too" in found.detail) == ("inconclusive", True)
    assert word(rule, Cell(sums(300, errors=60), sums(300))) == "fail"
    assert word(rule, Cell(sums(300, errors=180), sums(300, errors=60))) == "fail"


@pytest.mark.parametrize(
    ("task", "rule", "instead"),
    [("regression", "accuracy_drop", "error_increase"), ("classification", "error_increase", "accuracy_drop")],
)
def test_a_rule_that_a_task_cannot_measure_is_refused_with_the_one_to_use(task: str, rule: str, instead: str) -> None:
    wrong = replace(STRATEGY, rules=(Rule(metric=rule, threshold=0.1),))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=f"use {instead} in its place"):
        check_task(wrong, task)
    check_task(wrong, "other")
    check_task(replace(wrong, rules=(*wrong.rules, Rule(metric=instead, threshold=0.1))), task)  # type: ignore[arg-type]


def test_agreement_counts_the_answers_of_both_sides() -> None:
    rule = Rule(metric="agreement", threshold=0.9, min_samples=150)
    assert word(rule, Cell(sums(100, agreed=1.0), sums(49, agreed=1.0))) == "inconclusive"
    found = verdict(rule, Cell(sums(300, agreed=0.5), sums(100, agreed=0.5)))
    assert (found.word, found.detail) == (
        "fail",
        "200 of 400 answers of both versions agree, 90.0% asked for",
    )
    assert word(rule, Cell(sums(300, agreed=0.9))) == "pass"
    assert word(rule, Cell(sums(300, agreed=1.0))) == "pass"


def test_a_drop_is_weighted_by_what_both_sides_of_a_cell_have() -> None:
    big = Cell(sums(100, accuracy=0.8), sums(300, accuracy=0.9))
    small = Cell(sums(10, accuracy=0.5), sums(10, accuracy=1.0))
    unmatched = [Cell(sums(50, accuracy=0.1)), Cell(Sums(), sums(50, accuracy=0.1))]
    found = evidence.accuracy_drop([*unmatched, big, small])
    assert found is not None
    weights = (100 * 300 / 400, 10 * 10 / 20)
    assert found.value == pytest.approx((weights[0] * 0.1 + weights[1] * 0.5) / sum(weights))
    assert (found.treated, found.control) == (110, 310)
    variances = (
        variance_of_ratio(80, 100) + variance_of_ratio(270, 300),
        variance_of_ratio(5, 10) + variance_of_ratio(10, 10),
    )
    expected = sum(weight**2 * each for weight, each in zip(weights, variances, strict=True)) / sum(weights) ** 2
    assert found.variance == pytest.approx(expected)
    assert evidence.accuracy_drop([]) is None


def test_a_share_of_nothing_is_none() -> None:
    assert evidence.ratio_of(0, 0).value == 0.0
    found = evidence.ratio_of(1, 4)
    assert (found.value, found.variance, found.treated, found.control) == (0.25, variance_of_ratio(1, 4), 4, 0)


def test_strata_share_the_chance_of_a_false_alarm() -> None:
    variance = 1e-4
    edge = next(excess / 10_000 for excess in range(10_000) if beyond_chance(excess / 10_000, variance, 0.01))
    assert evidence.beyond(edge, variance)
    assert not evidence.beyond(edge, variance, 2)
    assert not evidence.beyond(edge - 0.0002, variance)
    assert evidence.FALSE_ALARM == 0.01


def test_each_stratum_is_judged_by_its_own_evidence_and_shares_the_alarm() -> None:
    fleet = [*targets(["a1", "a2"], "arm"), *targets(["x1", "x2"], "x86")]
    rules = (
        Rule(metric="failed_ratio", threshold=0.0),
        Rule(metric="error_ratio", threshold=0.1, min_samples=50, scope="stratum"),
    )
    made = rollout(replace(STRATEGY, rules=rules), among=fleet)
    outcomes: Any = {"a1": "failed", "a2": "waiting", "x1": "succeeded", "x2": "succeeded"}
    measured = cells(sums(500, errors=400), stratum="arm") | cells(sums(500), stratum="x86")
    found = judge_all(made, measured, outcomes, 1.0)
    assert [(each.metric, each.stratum, each.rule, each.word) for each in found] == [
        ("failed_ratio", "", 0, "fail"),
        ("error_ratio", "arm", 1, "fail"),
        ("error_ratio", "x86", 1, "pass"),
    ]
    assert found[0].detail.startswith("1 of 3")
    stopped = judge_all(replace(made, stopped_strata=("arm",)), measured, outcomes, 1.0)
    assert [(each.stratum, each.word) for each in stopped] == [("", "pass"), ("x86", "pass")]


def test_a_window_begins_with_the_first_whole_bucket_in_it() -> None:
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


def test_sums_add_up_field_by_field_and_begin_at_nothing() -> None:
    one = Sums(1, 2, 3, 4, (5, 6), 7, 8)
    assert one.plus(Sums(10, 20, 30, 40, (50,), 70, 80)) == Sums(11, 22, 33, 44, (55, 6), 77, 88)
    assert Sums().plus(one) == one
    assert evidence.total([one, one, Sums()]) == Sums(2, 4, 6, 8, (10, 12), 14, 16)
    assert (BUCKET_S, MAX_BUCKETS) == (60.0, 1440)


def test_a_window_counts_for_the_release_or_for_what_runs_beside_it() -> None:
    interval = ModelInterval(model="m", version=REFS[2], inferences=3, errors=1)
    one = Sums(inferences=3, errors=1)
    before = Cell(sums(1), sums(2))
    assert before.plus(interval, 2) == Cell(sums(1).plus(one), sums(2))
    assert before.plus(interval, 1) == Cell(sums(1), sums(2).plus(one))
