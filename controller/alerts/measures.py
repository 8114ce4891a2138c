"""All measures that a rule may read, and those of rollouts and of the controller: functions of the facts.

Decides which values exceed a limit, and the text of an alert. Refuses to know for how long a value has exceeded it.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controller.alerts.device_measures import (
    above_of,
    clock_off_s,
    device_fault,
    expiry_days,
    offline_ratio,
    selected,
    sensor_failing,
    sensor_row_age_s,
    sink_failing,
    unheard_s,
    vitals_departure,
)
from controller.alerts.facts import Facts, Reading
from controller.alerts.rule import MeasureName, Rule
from controller.alerts.signal_measures import contract_breaches, estimated_quality
from controller.fleet.device_health import NO_FAULT
from controller.rollout.model import Rollout

Z_95 = 1.959964
"""The quantile of the normal distribution for an interval of 95 %."""
FAILED_THERE = ("rolled_back", "rejected")


def rollout_stopped(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The value 1 for each rollout that a rule or a person has stopped and that waits for a person's decision."""
    for each in _of_model(rule, facts):
        stopped = [*each.stopped_strata, *(f"wave {number + 1}" for number in each.stopped_waves)]
        if each.status == "paused" or (each.status == "running" and stopped):
            words = f"is {each.status}" + (f", without {', '.join(stopped)}" if stopped else "")
            yield _of_rollout(each, words, f"edgeward rollout resume or rollback {each.id}")


def version_rolled_back(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The value 1 for each model whose newest rollout was rolled back, until a person decides about it."""
    newest: dict[str, Rollout] = {}
    for each in _of_model(rule, facts):
        known = newest.get(each.model)
        newest[each.model] = each if known is None or each.began_at >= known.began_at else known
    for each in newest.values():
        is_withdrawn = (each.model, each.release) in facts.withdrawn
        if each.status in ("rolling_back", "rolled_back") and not is_withdrawn:
            clears = f"another rollout of {each.model} starts, or v{each.release} is withdrawn"
            yield _of_rollout(each, f"is {each.status.replace('_', ' ')}", clears)


def rolled_back_ratio(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each version that devices are to run, the fraction of them on which it has failed. Judged by Wilson's
    interval.
    """
    limit = above_of(rule)
    decided: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for twin in selected(rule, facts):
        for model, state in twin.reported.items():
            ended = state.outcome
            if ended is None or (rule.model and model != rule.model) or (ended.code and ended.code in NO_FAULT):
                continue  # a trial that another order has ended decides nothing about its version
            decided[model, ended.version.release].append(ended.result in FAILED_THERE)
    for (model, release), failed in sorted(decided.items()):
        n, count = len(failed), sum(failed)
        low, high = wilson_interval(count, n)
        if n >= rule.min_devices and low > limit:
            yield Reading(
                {"model": model, "release": str(release)}, count / n, "ratio", limit, n, "devices",
                f"{model} v{release} was rolled back or rejected by {count} of {n} devices",
                f"fewer than {limit:.3g} of the devices that have decided, beyond chance",
                f"edgeward model show {model}", low, high,
            )  # fmt: skip


def controller_finding(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The value 1 for each finding of the controller's health."""
    for each in facts.findings:
        if not rule.codes or each.code in rule.codes:
            yield Reading(
                {"code": each.code}, 1.0, "findings", 0.0, 1, "controllers", each.detail,
                f"the controller's health no longer says {each.code}",
                facts.looks.get(each.code, "edgeward audit list"),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure: how it is read, and which keys of a rule it uses."""

    read: Callable[[Rule, Facts], Iterator[Reading]]
    test: str
    """How the value is compared with the limit."""
    keys: frozenset[str]
    """Keys of a rule besides those that every rule has."""
    optional: frozenset[str] = frozenset()
    """The bounds in `keys` that may be left out."""


_READ = "the value as it was read, against the limit"
_COUNT = "a count of all devices, without sampling"
_STATE = "what is said of itself, without a limit"
_SIGNAL = "the interval of the estimate, wholly beyond the limit"
MEASURES: dict[MeasureName, Measure] = {
    "offline_ratio": Measure(offline_ratio, _COUNT, frozenset({"above", "by", "selector", "min_devices"})),
    "unheard_s": Measure(unheard_s, _READ, frozenset({"above", "selector"})),
    "device_fault": Measure(device_fault, _STATE, frozenset({"codes", "selector"})),
    "clock_off_s": Measure(clock_off_s, "two heartbeats, against this clock", frozenset({"above", "selector"})),
    "expiry_days": Measure(expiry_days, _READ, frozenset({"below", "selector"})),
    "sensor_failing": Measure(sensor_failing, _STATE, frozenset({"selector"})),
    "sensor_row_age_s": Measure(sensor_row_age_s, _READ, frozenset({"above", "selector"})),
    "sink_failing": Measure(sink_failing, _STATE, frozenset({"selector"})),
    "rollout_stopped": Measure(rollout_stopped, _STATE, frozenset({"model"})),
    "version_rolled_back": Measure(version_rolled_back, _STATE, frozenset({"model"})),
    "rolled_back_ratio": Measure(
        rolled_back_ratio,
        "Wilson's interval of 95 % over devices",
        frozenset({"above", "selector", "model", "min_devices"}),
    ),
    "controller_finding": Measure(controller_finding, _STATE, frozenset({"codes"})),
    "contract_breach_ratio": Measure(
        contract_breaches, _SIGNAL, frozenset({"above", "model"}), optional=frozenset({"above"})
    ),
    "estimated_quality": Measure(
        estimated_quality, _SIGNAL, frozenset({"below", "model"}), optional=frozenset({"below"})
    ),
    "vitals_departure": Measure(
        vitals_departure,
        "the score of the watcher's model, against its threshold",
        frozenset({"above", "selector"}),
        optional=frozenset({"above"}),
    ),
}


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """Returns the interval of 95 % for a ratio of `count` in `n`.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if n == 0:
        return 0.0, 1.0
    ratio, square = count / n, Z_95**2
    centre = (ratio + square / (2 * n)) / (1 + square / n)
    half = Z_95 * math.sqrt(ratio * (1 - ratio) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _of_model(rule: Rule, facts: Facts) -> Iterator[Rollout]:
    return (each for each in facts.rollouts.values() if not rule.model or each.model == rule.model)


def _of_rollout(each: Rollout, words: str, clears: str) -> Reading:
    reason = f": {each.reason}" if each.reason else ""
    return Reading(
        {"rollout": each.id, "model": each.model, "release": str(each.release)}, 1.0, "rollouts", 0.0,
        len(each.members), "devices", f"the rollout of {each.model} v{each.release} {words}{reason}", clears,
        f"edgeward rollout explain {each.id}",
    )  # fmt: skip
