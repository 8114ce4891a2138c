"""The health of a version: its newest inferences, and the verdict on them.

Decides pass, fail or inconclusive from counts alone. Refuses to know what follows from a verdict.
"""

import math
from collections import deque

import msgspec

from agent.core.limits import FALSE_ALARM
from agent.core.model import Baseline, Verdict
from contract.desired import TrialPolicy
from contract.errors import Code
from contract.sequential import beyond_chance, variance_of_ratio


class Inference(msgspec.Struct, frozen=True, gc=False):
    """One inference: its latency, fault and correctness."""

    latency_us: float
    error: Code | None = None
    correct: bool | None = None
    """Whether the answer met the label; None without a label."""


class Judgement(msgspec.Struct, frozen=True):
    """A verdict, and for a failure the code and the numbers behind it."""

    verdict: Verdict
    code: str = ""
    detail: str = ""


_INCONCLUSIVE = Judgement(Verdict.INCONCLUSIVE)


class JudgedInferences:
    """The newest inferences of one version, at most `size`, and their counts."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: deque[Inference] = deque()
        self.seen = 0
        """The number of all inferences that were added, also those dropped since."""
        self.errors = 0
        self.labelled = 0
        self.correct = 0
        self.compared = 0
        """The number of all rows that a shadow has answered, not only the newest."""
        self.agreed = 0

    def __len__(self) -> int:
        return len(self._newest)

    def add(self, inference: Inference) -> None:
        """Adds one inference; beyond the limit the oldest is dropped."""
        self._newest.append(inference)
        self.seen += 1
        if inference.error is not None or inference.correct is not None:
            self._count(inference, 1)
        if len(self._newest) > self._size:
            oldest = self._newest.popleft()
            if oldest.error is not None or oldest.correct is not None:
                self._count(oldest, -1)

    def compare(self, rows: int, agreed: int) -> None:
        """Adds the rows that a shadow answered, and how many of its answers equalled stable's."""
        self.compared += rows
        self.agreed += agreed

    def latency_us_p95(self) -> float:
        """Returns the 95th percentile of the latencies in microseconds; 0 without inferences."""
        ordered = sorted(inference.latency_us for inference in self._newest)
        return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)] if ordered else 0.0

    @property
    def baseline(self) -> Baseline | None:
        """The accuracy with which the next version is compared; None without labels."""
        return Baseline(labelled=self.labelled, correct=self.correct) if self.labelled else None

    def _count(self, inference: Inference, sign: int) -> None:
        self.errors += sign * (inference.error is not None)
        self.labelled += sign * (inference.correct is not None)
        self.correct += sign * (inference.correct is True)


def judge(inferences: JudgedInferences, policy: TrialPolicy, baseline: Baseline | None) -> Judgement:
    """Returns the verdict on a trial's inferences. Fewer inferences than `min_samples` never pass.

    Errors may fail a trial before `min_samples` inferences: as soon as more have failed than `min_samples` allow.
    """
    if failed := _errors(inferences, policy):
        return failed
    if len(inferences) < policy.min_samples:
        return _INCONCLUSIVE
    return _latency(inferences, policy) or _agreement(inferences, policy) or _accuracy(inferences, policy, baseline)


def _errors(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    allowed = float(policy.max_error_ratio) * max(len(inferences), policy.min_samples)
    if inferences.errors <= allowed:
        return None
    detail = f"{inferences.errors} of {len(inferences)} inferences failed, {float(policy.max_error_ratio):.1%} allowed"
    return Judgement(Verdict.FAIL, Code.HEALTH_ERRORS, detail)


def _latency(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    p95_ms = inferences.latency_us_p95() / 1000
    if p95_ms <= float(policy.max_latency_ms_p95):
        return None
    detail = f"p95 {p95_ms:.1f} ms over {len(inferences)} inferences, {policy.max_latency_ms_p95} ms allowed"
    return Judgement(Verdict.FAIL, Code.HEALTH_LATENCY, detail)


def _agreement(inferences: JudgedInferences, policy: TrialPolicy) -> Judgement | None:
    if policy.mode != "shadow":
        return None
    if inferences.compared < policy.min_samples:
        return _INCONCLUSIVE
    ratio = inferences.agreed / inferences.compared if inferences.compared else 1.0
    if ratio >= float(policy.min_agreement):
        return None
    asked = f"{float(policy.min_agreement):.1%} asked for"
    detail = f"{inferences.agreed} of {inferences.compared} answers equal stable's, {asked}"
    return Judgement(Verdict.FAIL, Code.HEALTH_AGREEMENT, detail)


def _accuracy(inferences: JudgedInferences, policy: TrialPolicy, baseline: Baseline | None) -> Judgement:
    if baseline is None or not baseline.labelled or not inferences.labelled:
        return Judgement(Verdict.PASS)
    if inferences.labelled < policy.min_samples:
        return _INCONCLUSIVE
    before, after = baseline.correct / baseline.labelled, inferences.correct / inferences.labelled
    variance = variance_of_ratio(baseline.correct, baseline.labelled) + variance_of_ratio(
        inferences.correct, inferences.labelled
    )
    if not beyond_chance(before - after - float(policy.max_accuracy_drop), variance, FALSE_ALARM):
        return Judgement(Verdict.PASS)
    detail = (
        f"accuracy {after:.3f} of {inferences.labelled} against {before:.3f} of {baseline.labelled} for stable, "
        f"a drop of at most {float(policy.max_accuracy_drop):.3f} is allowed"
    )
    return Judgement(Verdict.FAIL, Code.HEALTH_ACCURACY, detail)
