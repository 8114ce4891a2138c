import random
from collections.abc import Iterable
from decimal import Decimal

import msgspec
import pytest

from agent.core.health import judge
from agent.core.judged import Inference, JudgedInferences
from agent.core.model import Baseline, Verdict
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.sequential import ratio_beyond

POLICY = TrialPolicy(
    min_samples=50,
    judged_inferences=200,
    max_error_ratio=Decimal("0.02"),
    max_latency_ms_p95=Decimal(10),
    max_accuracy_drop=Decimal("0.1"),
)
STABLE = Baseline(labelled=500, correct=450)


def judged(
    count: int, *, errors: int = 0, latency_us: float = 100.0, accuracy: float | None = None
) -> JudgedInferences:
    made = JudgedInferences(POLICY.judged_inferences)
    for number in range(count):
        correct = None if accuracy is None else number < accuracy * count
        made.add(Inference(latency_us, Code.HEALTH_OUTPUT if number < errors else None, correct))
    return made


def verdict(made: JudgedInferences, baseline: Baseline | None = STABLE, **changes: object) -> tuple[Verdict, str]:
    found = judge(made, msgspec.structs.replace(POLICY, **changes), baseline)
    return found.verdict, found.code


def test_too_few_inferences_are_inconclusive_never_pass() -> None:
    assert verdict(judged(49)) == (Verdict.INCONCLUSIVE, "")


def test_inferences_without_a_fault_pass() -> None:
    assert verdict(judged(50)) == (Verdict.PASS, "")


def test_errors_beyond_the_ratio_and_beyond_chance_fail() -> None:
    assert verdict(judged(100, errors=2)) == (Verdict.PASS, "")
    assert verdict(judged(100, errors=3)) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(100, errors=10)) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(100, errors=11)) == (Verdict.FAIL, Code.HEALTH_ERRORS)
    assert verdict(judged(100, errors=3), Baseline(inferences=100, errors=3)) == (Verdict.PASS, "")


def test_a_certain_failure_is_not_delayed_by_an_uncertain_rule() -> None:
    made = judged(200, errors=5, accuracy=0.5)
    assert verdict(made) == (Verdict.FAIL, Code.HEALTH_ACCURACY)


def test_one_error_never_fails_a_trial_and_three_in_a_row_fail_it_early() -> None:
    assert verdict(judged(1, errors=1)) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(1, errors=1), max_error_ratio=Decimal(0)) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(2, errors=2)) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(3, errors=3)) == (Verdict.FAIL, Code.HEALTH_ERRORS)


SICK = Baseline(inferences=500, errors=150, row_latency_counts=(0,) * 30 + (500,))


def test_a_trial_that_fails_as_often_as_stable_passes_and_the_device_is_named_as_faulty() -> None:
    found = judge(judged(200, errors=60), POLICY, SICK)
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, Code.DEVICE_SICK)
    assert "60 of 200 inferences failed, 2.0% allowed; of stable's 500 it is 150" in found.detail
    assert verdict(judged(200, errors=120), SICK) == (Verdict.FAIL, Code.HEALTH_ERRORS)


def test_a_trial_that_is_as_slow_as_stable_passes() -> None:
    slow = judged(100, latency_us=20_000.0)
    assert verdict(slow, SICK) == (Verdict.INCONCLUSIVE, Code.DEVICE_SICK)
    assert verdict(slow, Baseline(inferences=500, row_latency_counts=(500,))) == (Verdict.FAIL, Code.HEALTH_LATENCY)


def test_errors_wait_for_more_inferences_of_stable_before_the_device_is_named_as_faulty() -> None:
    few = Baseline(inferences=12, errors=0)
    assert verdict(judged(100, errors=12), few) == (Verdict.INCONCLUSIVE, "")
    assert verdict(judged(100, errors=12), Baseline(inferences=9)) == (Verdict.FAIL, Code.HEALTH_ERRORS)
    assert verdict(judged(100, errors=40), few) == (Verdict.FAIL, Code.HEALTH_ERRORS)


def test_the_sentence_ends_with_the_error_of_the_first_failing_row() -> None:
    made = judged(10, errors=10)
    made.error_words = "RuntimeError: index out of range"
    assert judge(made, POLICY, None).detail.endswith("; the first: RuntimeError: index out of range")


def refusing(total: int, alone: int) -> JudgedInferences:
    made = judged(total - alone)
    for _ in range(alone):
        made.refuse("input 'X': datatype", alone=True)
    return made


def test_refused_rows_fail_a_trial_only_if_stable_accepts_them_and_beyond_chance() -> None:
    mixed = judged(100)
    for _ in range(400):
        mixed.refuse("column 'x' is not there", alone=False)
    assert verdict(mixed) == (Verdict.PASS, "")
    assert verdict(refusing(100, 12)) == (Verdict.PASS, "")
    assert verdict(refusing(100, 40)) == (Verdict.FAIL, Code.HEALTH_REFUSALS)
    assert verdict(refusing(100, 40), max_refused_increase=Decimal("0.5")) == (Verdict.PASS, "")
    assert verdict(refusing(1, 1)) == (Verdict.INCONCLUSIVE, "")
    assert judge(refusing(8, 8), POLICY, None).detail == (
        "8 of 8 requests are refused that stable takes, 10.0% allowed; the first: input 'X': datatype"
    )


def measured(distances: Iterable[float], *, label: float = 10.0) -> JudgedInferences:
    made = JudgedInferences(1000)
    for distance in distances:
        made.add(Inference(1.0, distance=distance, label=label))
    return made


def yardstick_of(distances: Iterable[float], *, label: float = 10.0) -> Baseline:
    found = measured(distances, label=label).baseline
    assert found is not None
    return found


_RNG = random.Random(1)
GOOD_ERRORS = yardstick_of(abs(_RNG.gauss(0, 1)) for _ in range(500))


def test_a_regression_with_a_larger_error_than_stable_fails_with_its_numbers() -> None:
    rng = random.Random(2)
    found = judge(measured(1000 * abs(rng.gauss(0, 1)) for _ in range(50)), POLICY, GOOD_ERRORS)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_ERROR_SIZE)
    assert "mean absolute error" in found.detail
    assert "of 50 against" in found.detail
    assert "20% more allowed" in found.detail


def test_a_regression_as_good_as_stable_passes_and_too_few_labels_are_inconclusive() -> None:
    rng = random.Random(3)
    assert verdict(measured(abs(rng.gauss(0, 1)) for _ in range(200)), GOOD_ERRORS) == (Verdict.PASS, "")
    made = judged(60)
    for _ in range(49):
        made.add(Inference(1.0, distance=900.0))
    assert verdict(made, GOOD_ERRORS) == (Verdict.INCONCLUSIVE, "")


def test_a_stable_without_errors_fails_a_trial_for_real_errors_and_not_for_rounding() -> None:
    perfect = yardstick_of([0.0] * 200)
    assert verdict(measured([1.0] * 60), perfect) == (Verdict.FAIL, Code.HEALTH_ERROR_SIZE)
    assert verdict(measured([1e-6] * 60), perfect) == (Verdict.PASS, "")
    assert verdict(measured([0.0] * 60, label=0.0), yardstick_of([0.0] * 60, label=0.0)) == (Verdict.PASS, "")


@pytest.mark.parametrize("shape", ["normal", "exponential", "heavy"])
def test_a_regression_as_good_as_stable_fails_in_less_than_one_in_a_hundred_trials(shape: str) -> None:
    """200 trials of 400 labels, judged after every 20; the test allows one false alarm in a thousand."""
    rng = random.Random(4)
    draw = {
        "normal": lambda: abs(rng.gauss(0, 1)),
        "exponential": lambda: rng.expovariate(1.0),
        "heavy": lambda: rng.lognormvariate(0, 1),
    }[shape]
    convicted = 0
    for _ in range(200):
        stable, trial = yardstick_of(draw() for _ in range(200)), JudgedInferences(1000)
        for number in range(400):
            trial.add(Inference(1.0, distance=draw()))
            if number % 20 == 19 and judge(trial, POLICY, stable).verdict is Verdict.FAIL:
                convicted += 1
                break
    assert convicted <= 1


def test_the_exact_test_of_a_share_keeps_its_error_rate_for_any_number_of_checks() -> None:
    rng = random.Random(5)
    wrong = 0
    for _ in range(400):
        hits = 0
        for total in range(1, 601):
            hits += rng.random() < 0.02
            if ratio_beyond(hits, total, 0.02, 0.01):
                wrong += 1
                break
    assert wrong <= 4


def test_a_slow_trial_fails_with_its_numbers() -> None:
    found = judge(judged(100, latency_us=20_000.0), POLICY, STABLE)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_LATENCY)
    assert "20.0 ms" in found.detail


def test_accuracy_far_below_stable_fails() -> None:
    assert verdict(judged(200, accuracy=0.5)) == (Verdict.FAIL, Code.HEALTH_ACCURACY)


def test_a_drop_within_the_allowance_passes() -> None:
    assert verdict(judged(200, accuracy=0.82)) == (Verdict.PASS, "")


def test_a_drop_within_chance_passes() -> None:
    weak = Baseline(labelled=10, correct=10)
    assert verdict(judged(60, accuracy=0.85), weak) == (Verdict.PASS, "")


def test_without_labels_or_yardstick_accuracy_is_not_judged() -> None:
    assert verdict(judged(100)) == (Verdict.PASS, "")
    assert verdict(judged(100, accuracy=0.0), None) == (Verdict.PASS, "")


def test_labels_too_few_to_judge_are_inconclusive() -> None:
    made = judged(100)
    made.add(Inference(100.0, None, correct=False))
    assert verdict(made) == (Verdict.INCONCLUSIVE, "")


def test_only_the_newest_inferences_count() -> None:
    made = judged(150, errors=150)
    for _ in range(POLICY.judged_inferences):
        made.add(Inference(100.0))
    assert (len(made), made.errors) == (POLICY.judged_inferences, 0)
    assert verdict(made) == (Verdict.PASS, "")


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({"min_samples": 1000}, judged(200)),
        ({"max_error_ratio": Decimal(0)}, judged(200, errors=4)),
        ({"max_latency_ms_p95": Decimal("0.01")}, judged(100)),
        ({"max_accuracy_drop": Decimal("0.01")}, judged(200, accuracy=0.7)),
        ({"max_refused_increase": Decimal("0.01")}, refusing(200, 20)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_policy_field_changes_a_verdict(changes: dict, made: JudgedInferences) -> None:
    relaxed = {"max_accuracy_drop": Decimal("0.5")} if "max_accuracy_drop" in changes else {}
    assert verdict(made, **relaxed) == (Verdict.PASS, "")
    assert verdict(made, **changes)[0] is not Verdict.PASS


def test_the_allowed_increase_of_the_error_changes_a_verdict() -> None:
    rng = random.Random(6)
    worse = measured(1.6 * abs(rng.gauss(0, 1)) for _ in range(900))
    assert verdict(worse, GOOD_ERRORS, max_error_increase=Decimal("0.9")) == (Verdict.PASS, "")
    assert verdict(worse, GOOD_ERRORS) == (Verdict.FAIL, Code.HEALTH_ERROR_SIZE)
