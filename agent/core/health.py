"""The health of a version: its newest inferences, and the verdict on them.

Decides pass, fail or inconclusive from counts alone, against what is allowed and against stable. Every conviction is
beyond chance: its test is wrong with at most `FALSE_ALARM`, however often it is looked at (contract.sequential).
Refuses to know what follows from a verdict.
"""

import math

from agent.core.judged import JudgedInferences
from agent.core.limits import FALSE_ALARM, MIN_STABLE_INFERENCES
from agent.core.model import Baseline, Judgement, Verdict
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.histogram import upper_edge_us
from contract.sequential import beyond_chance, ratio_beyond, variance_of_mean, variance_of_ratio

SLOW_RATIO = 0.05
"""Inferences that may be slower than a limit of the 95th percentile."""
ROUNDING = 1e-6
"""A mean error below this share of the labels' size counts as this much: a perfect stable is no yardstick."""

_INCONCLUSIVE = Judgement(Verdict.INCONCLUSIVE)
_PASS = Judgement(Verdict.PASS)


def judge(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement:
    """Judges a trial's inferences. Fewer inferences than `min_samples` never pass: missing data is not health.

    `stable` is what stable has measured on the same stretch, or before the trial began where it does not run beside
    it. Errors and refusals convict before `min_samples`; where stable fails as much they convict nobody, and the
    judgement is inconclusive with `device_sick`.
    """
    for early in (_refusals(inferences, policy), _errors(inferences, policy, stable)):
        if early is not None:
            return early
    if len(inferences) < policy.min_samples:
        return _INCONCLUSIVE
    later = _latency(inferences, policy, stable) or _agreement(inferences, policy)
    return later or _error_size(inferences, policy, stable) or _accuracy(inferences, policy, stable)


def _refusals(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    """Rows that the trial refuses and stable's signature takes: the same rows on both sides, so nothing confounds."""
    alone, total = inferences.refused_alone, inferences.seen + inferences.refused
    if not ratio_beyond(alone, total, float(policy.max_refused_increase), FALSE_ALARM):
        return None
    allowed = f"{float(policy.max_refused_increase):.1%} allowed"
    words = f"{alone} of {total} requests are refused that stable takes, {allowed}"
    return _fail(Code.HEALTH_REFUSALS, words + _first(inferences.refusal_words))


def _errors(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement | None:
    allowed = float(policy.max_error_ratio)
    failed, total = inferences.errors, len(inferences)
    if not ratio_beyond(failed, total, allowed, FALSE_ALARM):
        return None
    words = f"{failed} of {total} inferences failed, {allowed:.1%} allowed"
    before = (stable.errors, stable.inferences) if stable is not None else (0, 0)
    return _against_stable(
        Code.HEALTH_ERRORS, words, (failed, total), before, allowed=allowed, first=_first(inferences.error_words)
    )


def _latency(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement | None:
    limit_us = float(policy.max_latency_ms_p95) * 1000
    slow, total = inferences.slower_than(limit_us), len(inferences)
    if not ratio_beyond(slow, total, SLOW_RATIO, FALSE_ALARM):
        return None
    p95_ms = inferences.latency_us_p95() / 1000
    words = f"p95 {p95_ms:.1f} ms for a row over {total} inferences, {policy.max_latency_ms_p95} ms allowed"
    counts = stable.row_latency_counts if stable is not None else ()
    before = sum(count for bucket, count in enumerate(counts) if upper_edge_us(bucket) > limit_us)
    return _against_stable(Code.HEALTH_LATENCY, words, (slow, total), (before, sum(counts)), allowed=SLOW_RATIO)


def _against_stable(
    code: Code, words: str, trial: tuple[int, int], stable: tuple[int, int], *, allowed: float, first: str = ""
) -> Judgement:
    """The judgement on a trial with more hits than are allowed; each side is (hits, inferences)."""
    if stable[1] < MIN_STABLE_INFERENCES:
        return _fail(code, words + first)
    before, after = stable[0] / stable[1], trial[0] / trial[1]
    if beyond_chance(after - before, variance_of_ratio(*trial) + variance_of_ratio(*stable), FALSE_ALARM):
        return _fail(code, words + first)
    if before <= allowed:
        return _INCONCLUSIVE
    words = f"{words}; of stable's {stable[1]} it is {stable[0]}, so the device is to blame and no version{first}"
    return Judgement(Verdict.INCONCLUSIVE, Code.DEVICE_SICK, words)


def _agreement(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    if policy.mode != "shadow":
        return None
    if inferences.compared < policy.min_samples:
        return _INCONCLUSIVE
    ratio = inferences.agreed / inferences.compared if inferences.compared else 1.0
    if ratio >= float(policy.min_agreement):
        return None
    asked = f"{float(policy.min_agreement):.1%} asked for"
    return _fail(Code.HEALTH_AGREEMENT, f"{inferences.agreed} of {inferences.compared} answers are stable's, {asked}")


def _error_size(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement | None:
    """Judges a regression by its mean absolute error beside stable's; None for a model without numbers to judge."""
    now = inferences.errors_measured()
    if stable is None or stable.measured < 2 or not now.measured:
        return None
    if now.measured < policy.min_samples or now.measured < 2:
        return _INCONCLUSIVE
    allowed = 1 + float(policy.max_error_increase)
    before, after = stable.absolute_error_sum / stable.measured, now.absolute_error_sum / now.measured
    limit = allowed * max(before, ROUNDING * math.sqrt(stable.squared_label_sum / stable.measured))
    if after <= limit:
        return None
    variance = variance_of_mean(now.absolute_error_sum, now.squared_error_sum, now.measured)
    variance += allowed**2 * variance_of_mean(stable.absolute_error_sum, stable.squared_error_sum, stable.measured)
    if not beyond_chance((after - limit) / after, variance / after**2, FALSE_ALARM):
        return None
    return _fail(
        Code.HEALTH_ERROR_SIZE,
        f"mean absolute error {after:.4g} of {now.measured} against {before:.4g} of {stable.measured} for stable, "
        f"{float(policy.max_error_increase):.0%} more allowed",
    )


def _accuracy(inferences: JudgedInferences, policy: TrialPolicy, baseline: Baseline | None) -> Judgement:
    if baseline is None or not baseline.labelled or not inferences.labelled:
        return _PASS
    if inferences.labelled < policy.min_samples:
        return _INCONCLUSIVE
    before, after = baseline.correct / baseline.labelled, inferences.correct / inferences.labelled
    variance = variance_of_ratio(baseline.correct, baseline.labelled) + variance_of_ratio(
        inferences.correct, inferences.labelled
    )
    if not beyond_chance(before - after - float(policy.max_accuracy_drop), variance, FALSE_ALARM):
        return _PASS
    return _fail(
        Code.HEALTH_ACCURACY,
        f"accuracy {after:.3f} of {inferences.labelled} against {before:.3f} of {baseline.labelled} for stable, "
        f"a drop of {float(policy.max_accuracy_drop):.3f} allowed",
    )


def _fail(code: Code, words: str) -> Judgement:
    return Judgement(Verdict.FAIL, code, words)


def _first(words: str) -> str:
    return f"; the first: {words}" if words else ""
