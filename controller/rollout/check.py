"""Checks before the start whether a strategy can work, in itself and with the devices of this fleet.

Decides what is refused, with the arithmetic and the change that would help. Refuses to know how devices get orders.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from contract.errors import BadInput, Code
from contract.maintenance import parse_hours
from controller.rollout.model import (
    DEVICE_METRICS,
    NAMED_METRICS,
    NUMBER_METRICS,
    Member,
    Metric,
    Rule,
    Strategy,
    Wave,
)

_OF_TASK: dict[str, tuple[Metric, Metric]] = {
    "classification": ("accuracy_drop", "error_increase"),
    "regression": ("error_increase", "accuracy_drop"),
}
"""By task, the metric that judges its labels, and the one that cannot."""
_MEASURED_OF: dict[Metric, str] = {"accuracy_drop": "classifiers", "error_increase": "regressions"}


def check_strategy(strategy: Strategy) -> None:
    """Raises BadInput `strategy_invalid` for a strategy that no fleet could follow."""
    for number, wave in enumerate(strategy.waves):
        _check_wave(f"waves[{number}]", wave)
    percents = [(wave.percent, wave.mode) for wave in strategy.waves if _is_percent(wave)]
    for (before, mode), (after, _) in pairwise(percents):
        rises = after is not None and before is not None and (after > before or (after == before and mode == "shadow"))
        if not rises:
            raise _wrong(f"waves {[percent for percent, _ in percents]}: percents must rise, or repeat after a shadow")
    last = strategy.waves[-1]
    if last.percent != 100 or last.mode != "serve" or not _is_percent(last):
        raise _wrong(
            "the last wave must be percent = 100: a device that is in no other wave would never get the release"
        )
    modes = [wave.mode for wave in strategy.waves]
    if modes != sorted(modes, reverse=True):
        raise _wrong(f"waves {modes}: a shadow wave comes before every wave that serves")
    for rule in strategy.rules:
        if rule.on_fail == "roll_back_stratum" and rule.scope != "stratum":
            raise _wrong(f'rule {rule.metric}: on_fail = "roll_back_stratum" needs scope = "stratum"')
        if rule.metric == "agreement" and "shadow" not in modes and not strategy.trial.reverse_share:
            raise _wrong("rule agreement: no wave is a shadow and trial.reverse_share is 0, so nothing is compared")
        _check_name(rule)
    for hours in strategy.trial.maintenance:
        parse_hours(hours)


def _check_name(rule: Rule) -> None:
    """Raises BadInput `strategy_invalid` for a rule whose name is missing or unused, or that could never fail."""
    if (rule.metric in NAMED_METRICS) != bool(rule.name):
        what = "the answer" if rule.metric == "class_share" else "the number that applications report"
        needs = f'needs name = "...", {what}' if rule.metric in NAMED_METRICS else "has no name"
        raise _wrong(f"rule {rule.title}: {rule.metric} {needs}")
    if rule.change == "absolute" and rule.metric not in NUMBER_METRICS:
        raise _wrong(f'rule {rule.title}: change = "absolute" is for metric_increase and metric_decrease alone')
    falls = rule.metric == "metric_decrease" and rule.change == "relative"
    if (falls or rule.metric == "class_share") and rule.threshold >= 1.0:
        raise _wrong(f"rule {rule.title} allows {rule.threshold:.0%}: it can never fail; set a threshold below 1")


def check_task(strategy: Strategy, task: str) -> None:
    """Raises BadInput `strategy_invalid` if labels would be judged by a rule that the model's answers do not allow."""
    metrics = {rule.metric for rule in strategy.rules}
    if task == "regression" and (parts := [rule.title for rule in strategy.rules if rule.metric == "class_share"]):
        raise _wrong(f"rule {parts[0]}: a regression answers numbers, not classes; use error_increase in its place")
    right, wrong = _OF_TASK.get(task, (None, None))
    if wrong in metrics and right not in metrics:
        raise _wrong(f"rule {wrong}: it can't be measured of a {task}; use {right} in its place, or beside it")


def only_for(metric: Metric, task: str) -> str:
    """Returns for which models alone a metric is measured, if a model of this task is none of them; else empty."""
    _, wrong = _OF_TASK.get(task, (None, None))
    return _MEASURED_OF[metric] if metric == wrong else ""


def check_power(strategy: Strategy, members: Sequence[Member]) -> None:
    """Raises BadInput `strategy_invalid` for a rule that can never fail, or never pass, with these devices."""
    waves = Counter(member.wave for member in members)
    for rule in strategy.rules:
        if rule.metric in DEVICE_METRICS:
            _check_reach(rule, waves, members)


def _check_reach(rule: Rule, waves: Counter[int], members: Sequence[Member]) -> None:
    per_stratum = Counter(member.stratum for member in members if member.wave == min(waves))
    first = min(per_stratum.values()) if rule.scope == "stratum" else waves[min(waves)]
    if rule.min_samples > first:
        each = " of its smallest stratum" if rule.scope == "stratum" else ""
        raise _wrong(
            f"rule {rule.metric} needs {rule.min_samples} decided devices and the first wave has {first}{each}: it "
            f"could never pass. Make the first wave {rule.min_samples} devices or more, or min_samples {first} or less"
        )
    if rule.threshold >= 1.0:
        raise _wrong(
            f"rule {rule.metric} allows {rule.threshold:.0%} of devices: it can never fail; set a threshold below 1"
        )


def _check_wave(where: str, wave: Wave) -> None:
    ways = [wave.percent is not None, wave.count is not None, bool(wave.devices), bool(wave.selector)]
    ways += [bool(wave.stratum), wave.each_stratum]
    if sum(ways) != 1:
        raise _wrong(f"{where}: name one of percent, count, devices, selector, stratum, each_stratum")


def _is_percent(wave: Wave) -> bool:
    return wave.percent is not None


def _wrong(words: str) -> BadInput:
    return BadInput(Code.STRATEGY_INVALID, words)
