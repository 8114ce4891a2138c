"""Edges of a trial's verdict: what is counted, and what is judged exactly at each limit."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.health import judge
from agent.core.judged import Inference, JudgedInferences
from agent.core.model import (
    Baseline,
    Verdict,
)
from contract.errors import Code
from tests.agent.core_records import GOOD, POLICY, SHADOW, filled


@pytest.mark.parametrize(("count", "p95"), [(0, 0), (1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (100, 95), (101, 96)])
def test_the_95th_percentile_is_the_smallest_latency_that_95_percent_do_not_exceed(count: int, p95: int) -> None:
    assert filled([float(number) for number in range(count, 0, -1)]).latency_us_p95() == p95


def test_five_slow_answers_in_a_hundred_pass_and_slow_answers_within_chance_wait() -> None:
    policy = replace(POLICY, max_latency_ms_p95=Decimal(1))
    assert judge(filled([1000.0] * 95 + [9000.0] * 5), policy, None).verdict is Verdict.PASS
    unsure = judge(filled([1000.0] * 84 + [9000.0] * 16), policy, None)
    assert (unsure.verdict, unsure.code) == (Verdict.INCONCLUSIVE, "")
    assert unsure.detail.endswith("over 100 inferences, 1 ms allowed; chance may explain it")
    found = judge(filled([1000.0] * 83 + [9000.0] * 17), policy, None)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_LATENCY)


def test_inferences_older_than_the_window_are_not_counted() -> None:
    made = JudgedInferences(2)
    made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    made.add(Inference(1.0, None, correct=True))
    assert (made.errors, made.labelled, made.correct) == (1, 1, 1)
    made.add(Inference(1.0, None, correct=False))
    assert (made.errors, made.labelled, made.correct) == (0, 2, 1)
    made.add(Inference(1.0))
    made.add(Inference(1.0))
    assert (made.errors, made.labelled, made.correct, made.seen, len(made)) == (0, 0, 0, 5, 2)


def test_a_yardstick_with_no_right_label_is_used_and_one_without_labels_is_not() -> None:
    made = JudgedInferences(10)
    assert made.baseline is None
    made.add(Inference(1.0, None, correct=False))
    assert made.baseline == Baseline(labelled=1, correct=0, inferences=1, row_latency_counts=(1,))
    made.add(Inference(2.0, Code.HEALTH_OUTPUT, correct=True))
    assert made.baseline == Baseline(labelled=2, correct=1, inferences=2, errors=1, row_latency_counts=(1, 0, 1))


def shadowed(compared: int, agreed: int, **changes: Any) -> tuple[Verdict, str]:
    made = filled([1.0] * 50)
    half = compared // 2, agreed // 2
    made.compare(*half)
    made.compare(compared - half[0], agreed - half[1])
    assert (made.compared, made.agreed) == (compared, agreed)
    found = judge(made, replace(SHADOW, min_agreement=Decimal("0.9"), **changes), None)
    return found.verdict, found.code


def test_a_shadow_is_judged_once_it_has_the_minimum_of_compared_rows() -> None:
    assert shadowed(0, 0) == (Verdict.INCONCLUSIVE, "")
    assert shadowed(19, 0) == (Verdict.INCONCLUSIVE, "")
    assert shadowed(20, 0) == (Verdict.FAIL, Code.HEALTH_AGREEMENT)
    assert shadowed(20, 18) == (Verdict.PASS, "")


def test_a_shadow_must_reach_the_required_agreement_and_no_more() -> None:
    assert shadowed(100, 90) == (Verdict.PASS, "")
    assert shadowed(100, 89) == (Verdict.FAIL, Code.HEALTH_AGREEMENT)
    assert shadowed(0, 0, min_samples=0) == (Verdict.PASS, "")


def test_a_serving_trial_is_not_judged_by_agreement() -> None:
    assert shadowed(100, 0, mode="serve") == (Verdict.PASS, "")


def labelled(count: int, correct: int, size: int = 1000) -> JudgedInferences:
    made = JudgedInferences(size)
    for number in range(count):
        made.add(Inference(1.0, None, correct=number < correct))
    return made


def test_accuracy_needs_labels_on_both_sides() -> None:
    assert judge(labelled(100, 0), POLICY, Baseline(labelled=0, correct=0)).verdict is Verdict.PASS
    assert judge(labelled(100, 0), POLICY, GOOD).code == Code.HEALTH_ACCURACY
    some = filled([1.0] * 30)
    some.add(Inference(1.0, None, correct=False))
    assert judge(some, POLICY, GOOD).verdict is Verdict.INCONCLUSIVE


def test_accuracy_is_judged_once_there_is_the_minimum_of_labels() -> None:
    made = filled([1.0] * 10)
    for _ in range(19):
        made.add(Inference(1.0, None, correct=False))
    assert judge(made, POLICY, GOOD).verdict is Verdict.INCONCLUSIVE
    made.add(Inference(1.0, None, correct=False))
    assert judge(made, POLICY, GOOD).verdict is Verdict.FAIL


def test_a_small_yardstick_does_not_fail_a_drop_that_a_large_one_fails() -> None:
    worse = labelled(200, 120)
    assert judge(worse, POLICY, Baseline(labelled=10, correct=9)).verdict is Verdict.PASS
    found = judge(worse, POLICY, Baseline(labelled=1000, correct=900))
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ACCURACY)
    assert "0.600 of 200 against 0.900 of 1000" in found.detail


def test_as_many_errors_as_are_allowed_pass_and_the_sentence_has_the_numbers() -> None:
    policy = replace(POLICY, max_error_ratio=Decimal("0.05"))
    made = filled([1.0] * 38)
    for _ in range(2):
        made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    assert judge(made, policy, None).verdict is Verdict.PASS
    for _ in range(10):
        made.add(Inference(1.0, Code.HEALTH_OUTPUT))
    found = judge(made, policy, None)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ERRORS)
    assert found.detail == "12 of 50 inferences failed, 5.0% allowed"
