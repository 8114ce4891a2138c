from decimal import Decimal

import msgspec
import pytest

from agent.core.health import Inference, JudgedInferences, judge
from agent.core.model import Baseline, Verdict
from contract.desired import TrialPolicy
from contract.errors import Code

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


def test_errors_beyond_the_ratio_fail() -> None:
    assert verdict(judged(100, errors=2)) == (Verdict.PASS, "")
    assert verdict(judged(100, errors=3)) == (Verdict.FAIL, Code.HEALTH_ERRORS)


def test_errors_convict_before_min_samples_when_no_success_could_help() -> None:
    assert verdict(judged(2, errors=2)) == (Verdict.FAIL, Code.HEALTH_ERRORS)
    assert verdict(judged(2, errors=1)) == (Verdict.INCONCLUSIVE, "")


def test_a_slow_trial_fails_with_its_numbers() -> None:
    found = judge(judged(100, latency_us=20_000.0), POLICY, STABLE)
    assert (found.verdict, found.code) == (Verdict.FAIL, Code.HEALTH_LATENCY)
    assert "20.0 ms" in found.detail


def test_accuracy_far_below_stable_fails() -> None:
    assert verdict(judged(200, accuracy=0.5)) == (Verdict.FAIL, Code.HEALTH_ACCURACY)


def test_a_drop_within_the_allowance_passes() -> None:
    assert verdict(judged(200, accuracy=0.82)) == (Verdict.PASS, "")


def test_a_drop_that_chance_explains_passes() -> None:
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
        ({"max_error_ratio": Decimal(0)}, judged(100, errors=2)),
        ({"max_latency_ms_p95": Decimal("0.01")}, judged(100)),
        ({"max_accuracy_drop": Decimal("0.01")}, judged(200, accuracy=0.7)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_no_knob_is_dead(changes: dict, made: JudgedInferences) -> None:
    relaxed = {"max_accuracy_drop": Decimal("0.5")} if "max_accuracy_drop" in changes else {}
    assert verdict(made, **relaxed) == (Verdict.PASS, "")
    assert verdict(made, **changes)[0] is not Verdict.PASS
