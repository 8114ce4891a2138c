"""The health of a version: its newest inferences, and the verdict on them.

Decides pass, fail or inconclusive from counts alone, compared with the limits and with stable. A failure is not due
to chance alone: each test is wrong with probability at most `FALSE_ALARM`, however often it is made
(contract.sequential). Refuses to know the consequences of a verdict.
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
"""The fraction of inferences that may be slower than a limit of the 95th percentile."""
ROUNDING = 1e-6
"""A mean error below this fraction of the labels' size counts as this fraction: no error can be compared with an
error of 0.
"""

_INCONCLUSIVE = Judgement(Verdict.INCONCLUSIVE)
_PASS = Judgement(Verdict.PASS)


def judge(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement:
    """Judges a trial's inferences. Fewer inferences than `min_samples` never pass: missing data is not health.

    `stable` holds the measurements of stable over the same time, or before the trial if it does not run beside it.
    Errors and refusals can fail a trial before `min_samples`. A figure above its limit that may be due to chance is
    inconclusive. A figure above its limit is inconclusive too if stable has the same; then the code is `device_sick`.
    """
    found = [_refusals(inferences, policy), _errors(inferences, policy, stable)]
    if len(inferences) < policy.min_samples:
        found.append(_INCONCLUSIVE)
    else:
        found += [_latency(inferences, policy, stable), _agreement(inferences, policy)]
        found += [_error_size(inferences, policy, stable), _accuracy(inferences, policy, stable)]
    return _worst([each for each in found if each is not None])


def _worst(found: list[Judgement]) -> Judgement:
    """Returns the first failure; without a failure an inconclusive judgement, preferably one with a reason."""
    failed = [each for each in found if each.verdict is Verdict.FAIL]
    unsure = [each for each in found if each.verdict is Verdict.INCONCLUSIVE]
    return next(iter([*failed, *sorted(unsure, key=lambda each: not each.code)]), _PASS)


def _refusals(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    """Judges the rows that the trial refuses and stable's signature accepts: both versions get the same rows."""
    alone, total = inferences.refused_alone, inferences.seen + inferences.refused
    if not ratio_beyond(alone, total, float(policy.max_refused_increase), FALSE_ALARM):
        return None
    allowed = f"{float(policy.max_refused_increase):.1%} allowed"
    words = f"{alone} of {total} requests are refused that stable takes, {allowed}"
    return _fail(Code.HEALTH_REFUSALS, words + _first(inferences.refusal_words))


def _errors(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement | None:
    allowed, trial = float(policy.max_error_ratio), (inferences.errors, len(inferences))
    words = f"{trial[0]} of {trial[1]} inferences failed, {allowed:.1%} allowed"
    before = (stable.errors, stable.inferences) if stable is not None else (0, 0)
    charge = Judgement(Verdict.FAIL, Code.HEALTH_ERRORS, words + _first(inferences.error_words))
    return _beside(charge, trial, before, allowed)


def _latency(inferences: JudgedInferences, policy: TrialPolicy, stable: Baseline | None) -> Judgement | None:
    limit_us = float(policy.max_latency_ms_p95) * 1000
    slow, total = inferences.slower_than(limit_us), len(inferences)
    p95_ms = inferences.latency_us_p95() / 1000
    words = f"p95 {p95_ms:.1f} ms for a row over {total} inferences, {policy.max_latency_ms_p95} ms allowed"
    counts = stable.row_latency_counts if stable is not None else ()
    before = sum(count for bucket, count in enumerate(counts) if upper_edge_us(bucket) > limit_us)
    return _beside(_fail(Code.HEALTH_LATENCY, words), (slow, total), (before, sum(counts)), SLOW_RATIO)


def _beside(charge: Judgement, trial: tuple[int, int], stable: tuple[int, int], allowed: float) -> Judgement | None:
    """Returns the judgement of one figure; each version has (hits, inferences). None if the ratio of hits is
    allowed.
    """
    hits, total = trial
    known = stable[1] >= MIN_STABLE_INFERENCES
    before = stable[0] / stable[1] if known else 0.0
    if hits <= allowed * total:
        return None
    if not ratio_beyond(hits, total, allowed, FALSE_ALARM):
        unsure = Judgement(Verdict.INCONCLUSIVE, "", f"{charge.detail}; chance may explain it")
        return None if known and hits <= before * total else unsure
    variance = variance_of_ratio(*trial) + variance_of_ratio(*stable)
    if not known or beyond_chance(hits / total - before, variance, FALSE_ALARM):
        return charge
    if before <= allowed:
        return Judgement(Verdict.INCONCLUSIVE, "", f"{charge.detail}; stable may have as much")
    words = f"{charge.detail}; of stable's {stable[1]} it is {stable[0]}, so the device is to blame and no version"
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
    """Judges a regression by its mean absolute error compared with stable's; None for a model without
    numbers to judge.
    """
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
