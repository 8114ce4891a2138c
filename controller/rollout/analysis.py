"""Judges rules: pass, fail or inconclusive, each with its numbers in a sentence.

Decides by the rule's metric, scope, `judged_s` and threshold. Refuses to know what follows from a verdict.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from controller.rollout import evidence
from controller.rollout.facts import BUCKET_S, Cell, Cells
from controller.rollout.model import DEVICE_METRICS, Metric, Rollout, Rule
from controller.rollout.outcome import FAILURES, MemberOutcome

SLOW_RATIO = 0.05
"""Inferences that may take longer than is allowed of a 95th percentile."""

Word = Literal["pass", "fail", "inconclusive"]


class RuleVerdict(msgspec.Struct, frozen=True):
    """The current verdict of one rule, for all devices or for one stratum."""

    metric: Metric
    word: Word
    detail: str
    stratum: str = ""
    rule: int = 0
    """Its index among the strategy's rules."""


class Counts(msgspec.Struct, frozen=True):
    """The results of devices whose turn has come.

    Failures that an operator has acknowledged by a resume are not counted.
    """

    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    silent: int = 0
    pending: int = 0

    @property
    def decided(self) -> int:
        """The number of devices with a result."""
        return self.succeeded + self.failed


class Evidence(msgspec.Struct, frozen=True):
    """The data by which a rule is judged: all devices, or one stratum."""

    counts: Counts
    cells: tuple[Cell, ...]
    strata: int = 1
    """The number of tests between which the chance of a false alarm is divided."""


def judge_all(
    rollout: Rollout, cells: Cells, outcomes: Mapping[str, MemberOutcome], now: float
) -> tuple[RuleVerdict, ...]:
    """Judges the rules in their order: one verdict for each rule, or one for each stratum that is not stopped."""
    going_on = sorted({m.stratum for m in rollout.members if not rollout.is_stopped(m)})
    verdicts: list[RuleVerdict] = []
    for number, rule in enumerate(rollout.strategy.rules):
        by_stratum = rule.scope == "stratum"
        for stratum in going_on if by_stratum else [None]:
            chosen = going_on if stratum is None else [stratum]
            found = Evidence(
                _count(rollout, outcomes, chosen),
                _newest(rollout, rule, cells, chosen, now),
                len(going_on) if by_stratum else 1,
            )
            verdicts.append(msgspec.structs.replace(judge(rule, found), stratum=stratum or "", rule=number))
    return tuple(verdicts)


def judge(rule: Rule, found: Evidence) -> RuleVerdict:
    """Judges one rule."""
    if rule.metric in DEVICE_METRICS:
        return _devices(rule, found.counts)
    return _MEASURED[rule.metric](rule, found)


def _count(rollout: Rollout, outcomes: Mapping[str, MemberOutcome], strata: list[str]) -> Counts:
    known = set(rollout.acknowledged)
    words: list[MemberOutcome] = [
        word
        for member in rollout.members
        if member.stratum in strata and not ((word := outcomes[member.device]) in FAILURES and member.device in known)
    ]
    return Counts(
        succeeded=words.count("succeeded"),
        failed=sum(word in FAILURES for word in words),
        rejected=words.count("rejected"),
        silent=words.count("silent"),
        pending=words.count("pending"),
    )


def _newest(rollout: Rollout, rule: Rule, cells: Cells, strata: list[str], now: float) -> tuple[Cell, ...]:
    since = max(rollout.evidence_since, now - rule.judged_s if rule.judged_s else 0.0)
    first = int(since // BUCKET_S) + (since > 0)
    return tuple(cell for (stratum, bucket), cell in cells.items() if stratum in strata and bucket >= first)


def _devices(rule: Rule, counts: Counts) -> RuleVerdict:
    decided = counts.decided
    hits, words = {
        "failed_ratio": (counts.failed, "failed"),
        "rejected_ratio": (counts.rejected, "were rejected by their device"),
        "silent_ratio": (counts.silent, "fell silent"),
    }[rule.metric]
    detail = f"{hits} of {decided} decided devices {words}, {rule.threshold:.0%} allowed"
    if hits and hits > rule.threshold * (decided + counts.pending):
        return RuleVerdict(rule.metric, "fail", detail)  # with any result of the pending ones, the ratio is exceeded
    if decided < rule.min_samples:
        return RuleVerdict(rule.metric, "inconclusive", f"{decided} decided devices, {rule.min_samples} needed")
    return RuleVerdict(rule.metric, "fail" if hits > rule.threshold * decided else "pass", detail)


def _errors(rule: Rule, found: Evidence) -> RuleVerdict:
    treated = evidence.total(cell.treated for cell in found.cells)
    if missing := _missing(rule, treated.inferences, "inferences of the release"):
        return missing
    detail = f"{treated.errors} of {treated.inferences} inferences failed, {rule.threshold:.2%} allowed"
    if not evidence.ratio_is_beyond(treated.errors, treated.inferences, rule.threshold, found.strata):
        return RuleVerdict(rule.metric, "pass", detail)
    both = [cell for cell in found.cells if cell.control.inferences and cell.treated.inferences]
    control, beside = evidence.total(cell.control for cell in both), evidence.total(cell.treated for cell in both)
    if evidence.ratio_of(control.errors, control.inferences).value <= rule.threshold:
        return RuleVerdict(rule.metric, "fail", detail)
    words = f"{detail}; beside it {control.errors} of {control.inferences} failed too"
    ours, theirs = (evidence.ratio_of(side.errors, side.inferences) for side in (beside, control))
    worse = evidence.beyond(ours.value - theirs.value, ours.variance + theirs.variance, found.strata)
    return RuleVerdict(rule.metric, "fail" if worse else "inconclusive", words)


def _accuracy(rule: Rule, found: Evidence) -> RuleVerdict:
    drop = evidence.accuracy_drop(found.cells)
    samples = min(drop.treated, drop.control) if drop is not None else 0
    if missing := _missing(rule, samples, "labelled inferences on either side at the same time"):
        return missing
    assert drop is not None
    detail = (
        f"accuracy {drop.value:.3f} below what ran on the same kind of device in the same minutes "
        f"({drop.treated} against {drop.control} labelled), {rule.threshold:.3f} allowed"
    )
    return _verdict(rule, drop, detail, found.strata)


def _error_increase(rule: Rule, found: Evidence) -> RuleVerdict:
    errors = evidence.error_increase(found.cells, rule.threshold)
    samples = min(errors.treated, errors.control) if errors is not None else 0
    if missing := _missing(rule, samples, "labelled numbers on either side at the same time"):
        return missing
    assert errors is not None
    detail = (
        f"mean absolute error {errors.after:.4g} against {errors.before:.4g} on the same kind of device in the same "
        f"minutes ({errors.treated} against {errors.control} labelled), {rule.threshold:.0%} more allowed"
    )
    failed = evidence.beyond(errors.excess, errors.variance, found.strata)
    return RuleVerdict(rule.metric, "fail" if failed else "pass", detail)


def _latency(rule: Rule, found: Evidence) -> RuleVerdict:
    ratio = evidence.latency_ratio(found.cells, 0.95, rule.threshold)
    samples = min(ratio.treated, ratio.control) if ratio is not None else 0
    if missing := _missing(rule, samples, "inferences on either side at the same time"):
        return missing
    assert ratio is not None
    detail = (
        f"p95 {ratio.after:.0f} us for a row against {ratio.before:.0f} us beside it, "
        f"{rule.threshold:.1f} times allowed; {ratio.slow} of {ratio.treated} took longer than that"
    )
    failed = evidence.ratio_is_beyond(ratio.slow, ratio.treated, SLOW_RATIO, found.strata)
    return RuleVerdict(rule.metric, "fail" if failed else "pass", detail)


def _agreement(rule: Rule, found: Evidence) -> RuleVerdict:
    both = evidence.total(side for cell in found.cells for side in (cell.treated, cell.control))
    if missing := _missing(rule, both.compared, "answers that were compared"):
        return missing
    agreed = evidence.ratio_of(both.agreed, both.compared)
    detail = f"{both.agreed} of {both.compared} answers of both versions agree, {rule.threshold:.1%} asked for"
    return _verdict(rule, agreed, detail, found.strata)


def _verdict(rule: Rule, found: evidence.Difference, detail: str, strata: int) -> RuleVerdict:
    excess = rule.threshold - found.value if rule.metric == "agreement" else found.value - rule.threshold
    failed = evidence.beyond(excess, found.variance, strata)
    return RuleVerdict(rule.metric, "fail" if failed else "pass", detail)


def _missing(rule: Rule, count: int, what: str) -> RuleVerdict | None:
    """Returns the verdict if there is too little data to judge; None if there is enough."""
    if count >= rule.min_samples:
        return None
    if count == 0 and rule.on_missing == "skip":
        return RuleVerdict(rule.metric, "pass", f"skipped: no {what}")
    return RuleVerdict(rule.metric, "inconclusive", f"{count} {what}, {rule.min_samples} needed")


_MEASURED: dict[Metric, Callable[[Rule, Evidence], RuleVerdict]] = {
    "error_ratio": _errors,
    "accuracy_drop": _accuracy,
    "error_increase": _error_increase,
    "latency_ratio_p95": _latency,
    "agreement": _agreement,
}
