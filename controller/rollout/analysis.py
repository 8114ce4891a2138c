"""Judges rules: pass, fail or inconclusive, each with its numbers and a sentence made of them.

Decides by the rule's metric, scope, `judged_s` and threshold. Refuses to know the consequences of a verdict.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from controller.rollout import evidence, named
from controller.rollout.by_device import Effect, could_be_chance
from controller.rollout.evidence import Compared
from controller.rollout.facts import BUCKET_S
from controller.rollout.failing_devices import Failing, failing_devices
from controller.rollout.far_device import MIN_DEVICES
from controller.rollout.model import DEVICE_METRICS, Metric, Rollout, Rule
from controller.rollout.outcome import FAILURES, MemberOutcome
from controller.rollout.rows import Rows, Table
from controller.rollout.verdict import Figures, RuleVerdict, Unit, Word, word_of
from controller.rollout.words import devices_of


class Counts(msgspec.Struct, frozen=True):
    """The results of devices that have been offered the release.

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


LARGEST_SHOWN = 100.0
"""Larger ends of intervals, in the unit of the effect, are shown as this: people do not need larger values."""
MIN_FAILING = 2
"""The fewest devices with only failures that count: a single one may be broken, or report falsely."""
LOOKS = 2.0
"""The chance that failing devices have the release by accident must be so many times smaller than that of a false
alarm: a device that breaks by itself stays broken, so later checks show little new data.
"""

ACROSS = "; no harm beyond the limit is shown, but the interval reaches past it"
"""The end of the sentence of a rule that asks for no more than that no harm is shown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The data by which a rule is judged: all devices, or one stratum."""

    counts: Counts
    found: Compared
    strata: int = 1
    """The number of tests among which the probability of a false alarm is divided."""


def judge_all(
    rollout: Rollout, rows: Rows, outcomes: Mapping[str, MemberOutcome], now: float
) -> tuple[RuleVerdict, ...]:
    """Judges the rules in their order: one verdict for each rule, or one for each stratum that is not stopped."""
    going_on = sorted({m.stratum for m in rollout.members if not rollout.is_stopped(m)})
    kinds = {member.device: member.stratum for member in rollout.members}
    table = rows.table()
    verdicts: list[RuleVerdict] = []
    for number, rule in enumerate(rollout.strategy.rules):
        by_stratum = rule.scope == "stratum"
        since = max(rollout.evidence_since, now - rule.judged_s if rule.judged_s else 0.0)
        for stratum in going_on if by_stratum else [None]:
            chosen = going_on if stratum is None else [stratum]
            found = Evidence(
                _count(rollout, outcomes, chosen),
                compared(table, kinds, chosen, since),
                len(going_on) if by_stratum else 1,
            )
            verdicts.append(msgspec.structs.replace(judge(rule, found), stratum=stratum or "", rule=number))
    return tuple(verdicts)


def compared(table: Table, kinds: Mapping[str, str], chosen: Sequence[str], since: float) -> Compared:
    """Returns rows of the chosen strata: of the release those from `since` on, of the versions before it all."""
    numbers = evidence.names_of(chosen)
    stratum = np.array([numbers.get(kinds.get(name, ""), -1) for name in table.names], dtype=np.int64)
    first = evidence.first_seen(table)
    begins = math.ceil(since / BUCKET_S) * BUCKET_S
    is_old = (table.start < begins) & (table.start >= first[table.device])
    known = stratum[table.device] >= 0 if len(stratum) else np.zeros(0, dtype=bool)
    return Compared(table.where(known & ~is_old), stratum, first)


def judge(rule: Rule, found: Evidence) -> RuleVerdict:
    """Judges one rule."""
    if rule.metric in DEVICE_METRICS:
        return _devices(rule, found.counts)
    verdict = _MEASURED[rule.metric](rule, found)
    if verdict.word != "pass" or not verdict.is_across:
        return verdict
    return msgspec.structs.replace(verdict, detail=verdict.detail + ACROSS)


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


def _devices(rule: Rule, counts: Counts) -> RuleVerdict:
    decided = counts.decided
    hits, words = {
        "failed_ratio": (counts.failed, "failed"),
        "rejected_ratio": (counts.rejected, "were rejected by their device"),
        "silent_ratio": (counts.silent, "fell silent"),
    }[rule.metric]
    detail = f"{hits} of {decided} decided devices {words}, {rule.threshold:.0%} allowed"
    figures = _figures_of_devices(rule, hits, decided, counts.pending)
    if hits and hits > rule.threshold * (decided + counts.pending):  # no result of the pending devices can change this
        return RuleVerdict(rule.title, "fail", detail, figures=figures)
    if decided < rule.min_samples:
        words = f"{decided} decided devices, {rule.min_samples} needed"
        return RuleVerdict(rule.title, "inconclusive", words, figures=figures)
    word: Word = "fail" if hits > rule.threshold * decided else "pass"
    return RuleVerdict(rule.title, word, detail, figures=figures)


def _figures_of_devices(rule: Rule, hits: int, decided: int, pending: int) -> Figures | None:
    """Returns the numbers of a rule that counts devices; None if no device has been offered the release."""
    everyone = decided + pending
    if not everyone:
        return None
    return Figures(
        value=hits / decided if decided else 0.0,
        low=hits / everyone,
        high=(hits + pending) / everyone,
        limit=rule.threshold,
        unit="devices",
        devices=decided,
    )


def _errors(rule: Rule, found: Evidence) -> RuleVerdict:
    table = found.found.table
    inferences, errors = (int(table.column(name)[table.treated].sum()) for name in ("inferences", "errors"))
    counted, failed = evidence.bounded_failures(found.found)
    if missing := _missing(rule, inferences, "inferences of the release"):
        return missing
    beyond = evidence.ratio_is_beyond(failed, counted, rule.threshold, found.strata)
    effect = evidence.errors(found.found)
    said = f"{errors} of {inferences} inferences failed"
    if effect is None:
        alone = _figures(rule, evidence.error_level(found.found), found.strata, "ratio")
        words = f"{said}, {rule.threshold:.2%} allowed"
        return RuleVerdict(rule.title, "fail" if beyond else "pass", words, figures=alone)
    sides = evidence.levels(evidence.failure_sample(found.found))
    figures = _figures(rule, effect, found.strata, "ratio", sides=sides)
    failing = failing_devices(found.found)
    word = (
        _word_of_errors(rule, effect, figures, failing, found.strata)
        if beyond
        else word_of(rule, figures, could_be_chance=True)
    )
    words = f"{said}; {figures.value:+.2%} {_spans(figures)} {_beside(effect, found)}, {rule.threshold:.2%} allowed"
    return RuleVerdict(rule.title, word, words + failing.words, figures=figures)


def _word_of_errors(rule: Rule, effect: Effect, figures: Figures, failing: Failing, strata: int) -> Word:
    """The word where more inferences fail than allowed. If devices with only failures have made the interval wide,
    it is no pass; they stop the release if chance does not explain that they have it. One of fewer than `MIN_DEVICES`
    is no pass either.
    """
    chance = could_be_chance(effect, rule.threshold, evidence.FALSE_ALARM)
    word = word_of(rule, figures, could_be_chance=chance)
    if word == "fail" or figures.value <= figures.limit:
        return word
    if failing.treated < MIN_FAILING:
        return "inconclusive" if failing.treated and failing.devices < MIN_DEVICES else word
    return "fail" if failing.chance() <= evidence.FALSE_ALARM / LOOKS / strata else "inconclusive"


def _accuracy(rule: Rule, found: Evidence) -> RuleVerdict:
    effect = evidence.accuracy_drop(found.found)
    if missing := _missing_sides(rule, effect, "labelled inferences on either side at the same time"):
        return missing
    assert effect is not None
    wrong = evidence.levels(evidence.accuracy_sample(found.found))
    sides = (None if wrong[0] is None else 1 - wrong[0], None if wrong[1] is None else 1 - wrong[1])
    figures = _figures(rule, effect, found.strata, "ratio", sides=sides)
    is_cost = figures.value >= 0
    size, ends = _in_direction(figures)
    spans, says = f"[{ends[0] * 100:.1f}, {ends[1] * 100:.1f}]", "costs" if is_cost else "gains"
    detail = (
        f"{says} {size * 100:.1f} points of accuracy {spans} {_beside(effect, found)} "
        f"({effect.samples} against {effect.samples_beside} labelled), {rule.threshold * 100:.1f} points allowed"
    )
    return _compared(rule, effect, figures, detail)


def _error_increase(rule: Rule, found: Evidence) -> RuleVerdict:
    effect = evidence.error_increase(found.found)
    if missing := _missing_sides(rule, effect, "labelled numbers on either side at the same time"):
        return missing
    assert effect is not None
    figures = _figures(
        rule, effect, found.strata, "fraction", math.expm1, sides=evidence.levels(evidence.error_sample(found.found))
    )
    detail = (
        f"mean absolute error {figures.value:+.1%} {_spans(figures)} {_beside(effect, found)} "
        f"({effect.samples} against {effect.samples_beside} labelled), {rule.threshold:.0%} more allowed"
    )
    return _compared(rule, effect, figures, detail)


def _latency(rule: Rule, found: Evidence) -> RuleVerdict:
    effect = evidence.latency_ratio(found.found)
    if missing := _missing_sides(rule, effect, "inferences on either side at the same time"):
        return missing
    assert effect is not None
    after, beside = (evidence.p95_us(found.found, treated=side) for side in (True, False))
    figures = _figures(rule, effect, found.strata, "times", math.exp, sides=(after, beside))
    detail = (
        f"p95 of the time for a row {after:.0f} us, {figures.value:.2f} times {_spans(figures)} as long "
        f"{_beside(effect, found)}, {rule.threshold:.1f} times allowed"
    )
    return _compared(rule, effect, figures, detail)


def _agreement(rule: Rule, found: Evidence) -> RuleVerdict:
    effect = evidence.disagreement(found.found)
    if missing := _missing(rule, effect.samples if effect is not None else 0, "answers that were compared"):
        return missing
    assert effect is not None
    figures = _figures(rule, effect, found.strata, "ratio", lambda missed: 1.0 - missed)
    detail = (
        f"{figures.value:.1%} {_spans(figures)} of {effect.samples} answers of both versions agree on "
        f"{devices_of(effect.devices)}, {rule.threshold:.1%} asked for"
    )
    return RuleVerdict(rule.title, word_of(rule, figures, could_be_chance=False), detail, figures=figures)


def _number(rule: Rule, found: Evidence) -> RuleVerdict:
    if named.has_no_mean(rule, found.found):
        words = f'the mean of {rule.name} without the release is not above 0: set change = "absolute"'
        return RuleVerdict(rule.title, "inconclusive", words)
    change = named.change_of(rule, found.found)
    if missing := _missing_sides(
        rule, None if change is None else change.effect, f"numbers named {rule.name} on either side at the same time"
    ):
        return missing
    assert change is not None
    absolute = named.is_absolute(rule)
    figures = _figures_of_change(rule, change, found.strata, "number" if absolute else "fraction")
    form = ".4g" if absolute else ".1%"
    size, ends = _in_direction(figures)
    harm, other = ("higher", "lower") if rule.metric == "metric_increase" else ("lower", "higher")
    detail = (
        f"{rule.name} is {size:{form}} {harm if figures.value >= 0 else other} [{ends[0]:{form}}, {ends[1]:{form}}] "
        f"{_beside(change.effect, found)} ({change.effect.samples} against {change.effect.samples_beside} reported), "
        f"{rule.threshold:{form}} {harm} allowed"
    )
    return _compared(rule, change.effect, figures, detail, change.scale)


def _class_part(rule: Rule, found: Evidence) -> RuleVerdict:
    change = named.change_of(rule, found.found)
    if missing := _missing_sides(
        rule, None if change is None else change.effect, "answers on either side at the same time"
    ):
        return missing
    assert change is not None
    figures = _figures_of_change(rule, change, found.strata, "ratio")
    spans = f"[{figures.low * 100:.1f}, {figures.high * 100:.1f}]"
    detail = (
        f'answers "{rule.name}" {figures.value * 100:.1f} points {"more" if change.is_up else "less"} often {spans} '
        f"{_beside(change.effect, found)} ({change.effect.samples} against {change.effect.samples_beside} answers), "
        f"{rule.threshold * 100:.1f} points either way allowed"
    )
    return _compared(rule, change.effect, figures, detail)


def _figures_of_change(rule: Rule, change: named.Change, strata: int, unit: Unit) -> Figures:
    return _figures(
        rule,
        change.effect,
        strata * named.directions(rule),
        unit,
        lambda value: value * change.scale,
        sides=(change.release, change.beside),
        scale=change.scale,
    )


def _in_direction(figures: Figures) -> tuple[float, tuple[float, float]]:
    """Returns (size of a change, the ends of its interval in the direction of the change)."""
    if figures.value >= 0:
        return figures.value, (figures.low, figures.high)
    return -figures.value, (-figures.high, -figures.low)


def _compared(rule: Rule, effect: Effect, figures: Figures, detail: str, scale: float = 1.0) -> RuleVerdict:
    beyond = figures.low > figures.limit
    chance = beyond and could_be_chance(effect, evidence.limit_of(rule) / scale, evidence.FALSE_ALARM)
    words = f"{detail}; a random choice of as many devices shows as much" if chance else detail
    return RuleVerdict(rule.title, word_of(rule, figures, could_be_chance=chance), words, figures=figures)


def _figures(
    rule: Rule,
    effect: Effect,
    strata: int,
    unit: Unit,
    shown: Callable[[float], float] = lambda value: value,
    *,
    sides: tuple[float | None, float | None] = (None, None),
    scale: float = 1.0,
) -> Figures:
    """Returns the numbers of an effect in the unit of the rule; `sides` are the levels of the release and of what it is
    compared with; `scale`: the unit of the rule's threshold in that of the effect.
    """
    low, high = evidence.interval_of(effect, strata)
    finds = evidence.limit_of(rule) / scale + evidence.detectable(effect.variance, effect.degrees, strata)
    ends = sorted((_shown(shown, low), _shown(shown, high)))
    return Figures(
        value=_shown(shown, effect.value),
        low=ends[0],
        high=ends[1],
        limit=rule.threshold,
        unit=unit,
        devices=effect.devices,
        devices_beside=effect.devices_beside,
        samples=effect.samples,
        samples_beside=effect.samples_beside,
        trial=sides[0],
        control=sides[1],
        finds=_shown(shown, finds),
    )


def _shown(shown: Callable[[float], float], value: float) -> float:
    return shown(max(-LARGEST_SHOWN, min(LARGEST_SHOWN, value)))


def _spans(figures: Figures) -> str:
    """Returns the interval in the unit of its sentence."""
    if figures.unit == "times":
        return f"[{figures.low:.2f}, {figures.high:.2f}]"
    return f"[{figures.low:.1%}, {figures.high:.1%}]"


def _beside(effect: Effect, found: Evidence) -> str:
    aside = ""
    if effect.set_aside is not None:
        aside = f", without {found.found.table.names[effect.set_aside]}, which lies far from all others"
    if effect.paired:
        return f"on {devices_of(effect.devices)} that run both versions{aside}"
    beside = f"against {effect.devices_beside} of their kinds and their own past"
    return f"on {devices_of(effect.devices)} {beside}{aside}"


def _missing_sides(rule: Rule, effect: Effect | None, what: str) -> RuleVerdict | None:
    return _missing(rule, min(effect.samples, effect.samples_beside) if effect is not None else 0, what)


def _missing(rule: Rule, count: int, what: str) -> RuleVerdict | None:
    """Returns the verdict if there is too little data to judge; None if there is enough."""
    if count >= rule.min_samples:
        return None
    if count == 0 and rule.on_missing == "skip":
        return RuleVerdict(rule.title, "no_data", f"skipped: no {what}")
    return RuleVerdict(rule.title, "inconclusive", f"{count} {what}, {rule.min_samples} needed")


_MEASURED: dict[Metric, Callable[[Rule, Evidence], RuleVerdict]] = {
    "error_ratio": _errors,
    "accuracy_drop": _accuracy,
    "error_increase": _error_increase,
    "latency_ratio_p95": _latency,
    "agreement": _agreement,
    "metric_increase": _number,
    "metric_decrease": _number,
    "class_share": _class_part,
}
