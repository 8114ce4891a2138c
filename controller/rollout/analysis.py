"""Rules to verdicts: pass, fail, or inconclusive, each with its numbers in a sentence.

A drop counts only if it exceeds the threshold and chance: waves are looked at on every pass, so three standard errors
are asked for. Refuses to know what follows.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from contract.histogram import quantile_us
from controller.rollout.facts import DeviceFact, Sums
from controller.rollout.model import Metric, Rollout, Rule

EVIDENCE_Z = 3.0
Word = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule says now."""

    metric: Metric
    word: Word
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The two sides of a comparison, and how the wave's devices have decided."""

    treated: Sums
    control: Sums
    succeeded: int
    failed: int
    pending: int


def gather(rollout: Rollout, facts: Iterable[DeviceFact], outcome: dict[str, str]) -> Evidence:
    """Treated: the release on its devices. Control: other releases on devices whose turn has not come.

    In the last wave nobody is untouched: then what its devices ran before is the control.
    """
    offered = set(rollout.devices_up_to(rollout.wave))
    last = rollout.wave >= rollout.last_wave
    treated = control = Sums()
    for fact in facts:
        for release, sums in fact.sums.items():
            if release == rollout.release:
                treated = treated.plus(sums)
            elif last or fact.device not in offered:
                control = control.plus(sums)
    words = [outcome[device] for device in offered if device in outcome]
    new_failures = [
        device for device in offered if outcome.get(device) == "failed" and device not in rollout.acknowledged
    ]
    return Evidence(treated, control, words.count("succeeded"), len(new_failures), words.count("pending"))


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """One rule."""
    match rule.metric:
        case "failed_ratio":
            return _failed_ratio(rule, evidence)
        case "error_ratio":
            return _error_ratio(rule, evidence)
        case "accuracy_drop":
            return _accuracy_drop(rule, evidence)
        case "latency_ratio_p95":
            return _latency_ratio(rule, evidence)


def _failed_ratio(rule: Rule, evidence: Evidence) -> RuleVerdict:
    decided = evidence.succeeded + evidence.failed
    detail = f"{evidence.failed} of {decided} decided devices failed, {rule.threshold:.0%} allowed"
    if evidence.failed and evidence.failed > rule.threshold * (decided + evidence.pending):
        return RuleVerdict(rule.metric, "fail", detail)  # whatever the pending ones do, the ratio is exceeded
    if decided < rule.min_samples:
        return RuleVerdict(rule.metric, "inconclusive", f"{decided} decided devices, {rule.min_samples} needed")
    exceeded = evidence.failed > rule.threshold * decided
    return RuleVerdict(rule.metric, "fail" if exceeded else "pass", detail)


def _error_ratio(rule: Rule, evidence: Evidence) -> RuleVerdict:
    treated = evidence.treated
    if missing := _missing(rule, treated.inferences, "inferences of the release"):
        return missing
    ratio = treated.errors / treated.inferences
    detail = f"{treated.errors} of {treated.inferences} inferences failed, {rule.threshold:.2%} allowed"
    return RuleVerdict(rule.metric, "fail" if ratio > rule.threshold else "pass", detail)


def _accuracy_drop(rule: Rule, evidence: Evidence) -> RuleVerdict:
    treated, control = evidence.treated, evidence.control
    if missing := _missing(rule, min(treated.labelled, control.labelled), "labelled inferences on either side"):
        return missing
    after, before = treated.correct / treated.labelled, control.correct / control.labelled
    pooled = (treated.correct + control.correct) / (treated.labelled + control.labelled)
    error = math.sqrt(pooled * (1 - pooled) * (1 / treated.labelled + 1 / control.labelled))
    drop = before - after
    failed = drop > rule.threshold and drop > EVIDENCE_Z * error
    detail = (
        f"accuracy {after:.3f} of {treated.labelled} against {before:.3f} of {control.labelled} on other releases, "
        f"a drop of {rule.threshold:.3f} allowed"
    )
    return RuleVerdict(rule.metric, "fail" if failed else "pass", detail)


def _latency_ratio(rule: Rule, evidence: Evidence) -> RuleVerdict:
    treated, control = evidence.treated, evidence.control
    if missing := _missing(rule, min(treated.inferences, control.inferences), "inferences on either side"):
        return missing
    after, before = quantile_us(treated.latency_us, 0.95), quantile_us(control.latency_us, 0.95)
    assert after is not None
    assert before is not None
    detail = f"p95 {after:.0f} us against {before:.0f} us on other releases, {rule.threshold:.1f} times allowed"
    return RuleVerdict(rule.metric, "fail" if after > rule.threshold * before else "pass", detail)


def _missing(rule: Rule, count: int, what: str) -> RuleVerdict | None:
    """The verdict when there is too little to judge; None when there is enough."""
    if count >= rule.min_samples:
        return None
    if count == 0 and rule.on_missing == "skip":
        return RuleVerdict(rule.metric, "pass", f"skipped: no {what}")
    return RuleVerdict(rule.metric, "inconclusive", f"{count} {what}, {rule.min_samples} needed")
