"""Computes what a rule can find with the devices of the first wave, from the differences between this fleet's devices.

Decides the smallest harm that is found with a probability of 80 %, in devices and hours, and which rule could never
trip. Refuses to know where the fleet's past is stored.
"""

import math
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from contract.messages import ModelInterval
from controller.rollout import evidence, named
from controller.rollout.by_device import Assumed, Sample, movement
from controller.rollout.evidence import ASSUMED, Compared
from controller.rollout.model import NAMED_METRICS, NUMBER_METRICS, Metric, Rule
from controller.rollout.noise import PRIOR_DEGREES
from controller.rollout.rows import Numbers, Table
from controller.rollout.words import devices_of, span

USUAL_ACCURACY = 0.9
"""The accuracy of a fleet whose labels are not known yet."""
COUNTED: dict[Metric, str] = {
    "accuracy_drop": "labelled",
    "error_increase": "measured",
    "error_ratio": "inferences",
    "latency_ratio_p95": "inferences",
    "agreement": "compared",
}


class Shown(Struct, frozen=True):
    """The facts about one metric in a fleet's data."""

    spread: float
    """Standard deviation between devices of how much each moves by itself, in the unit of the effect."""
    devices: int = 0
    """Devices with data; 0: it is assumed."""
    per_hour: float = 0.0
    """Samples of one device in an hour; 0: not known."""
    noise_of_one: float = USUAL_ACCURACY * (1 - USUAL_ACCURACY)
    """Variance of one sample."""
    scale: float = 1.0
    """The unit of the rule's threshold in that of the effect."""
    largest: float | None = None
    """The largest possible change, if the fleet's data show it."""
    lacks: Literal["", "name", "mean"] = ""
    """The data that a rule with a name lacks in this fleet: a device that reports the number or answers the class;
    a mean above 0 for a relative change."""


def assumed(metric: Metric) -> Shown:
    """Returns what is assumed about a fleet without data."""
    noise = 0.57 if metric == "error_increase" else 1.1 if metric == "latency_ratio_p95" else Shown(0.0).noise_of_one
    return Shown(ASSUMED[metric].differences, noise_of_one=noise)


def shown_of(rule: Rule, past: Compared, soak_s: float) -> Shown:
    """Returns what the fleet's own past shows about the measure of a rule."""
    if rule.metric not in NAMED_METRICS:
        return shown_by(rule.metric, past, soak_s)
    total, scaled = named.total_of(rule, past), named.sample_of(rule, past)
    if scaled is None:
        return Shown(named.MOVES * named.LEVELS, lacks="mean" if total.sum() else "name")
    usual = Shown(scaled.assumed.differences, scale=scaled.in_unit(rule))
    if rule.metric == "class_share":
        part = float(scaled.sample.value.sum()) / max(float(total.sum()), 1.0)
        usual = replace(usual, largest=max(part, 1 - part), lacks="" if part else "name")
    return _shown(past, soak_s, total, scaled.sample, usual=usual, spreads=scaled.assumed)


def count_in(rule: Rule, interval: ModelInterval) -> int:
    """Returns how many samples for a rule one message holds."""
    if rule.metric in NAMED_METRICS:
        return named.count_in(rule, interval)
    return int(getattr(interval, COUNTED[rule.metric]))


def shown_by(metric: Metric, past: Compared, soak_s: float) -> Shown:
    """Returns what the fleet's own past shows: how much its devices moved in the newest `soak_s`, without
    any release.
    """
    total, sample = past.table.column(COUNTED[metric]), _sample_of(metric, past)
    return _shown(past, soak_s, total, sample, usual=assumed(metric), spreads=ASSUMED[metric])


def _shown(
    past: Compared, soak_s: float, total: Numbers, sample: Sample | None, *, usual: Shown, spreads: Assumed
) -> Shown:
    """Returns `usual`, replaced by the data of rows with a `total`."""
    table = past.table
    hours = (float(table.start.max()) - float(table.start.min())) / 3600.0 if len(table.start) else 0.0
    devices = len(np.unique(table.device[total > 0]))
    if not devices or hours <= 0:
        return usual
    per_hour = float(total.sum()) / devices / hours
    if sample is None:
        return replace(usual, per_hour=per_hour)
    since = float(table.start.max()) - min(soak_s, hours * 1800.0)
    spread, seen = movement(sample, since, spreads)
    ratio = float(sample.value.sum()) / max(float(sample.total.sum()), 1.0)
    noise = usual.noise_of_one if sample.relative else max(ratio * (1 - ratio), 1e-4)
    if sample.usual_variance is not None:
        noise = sample.usual_variance
    return replace(usual, spread=spread, devices=seen, per_hour=per_hour, noise_of_one=noise)


def power_of(rule: Rule, first: int, beside: int, soak_s: float, *, shown: Shown, tests: int = 1) -> str:
    """Says in a sentence what a rule finds with `first` devices compared with `beside` others in `soak_s`."""
    per_device = shown.per_hour * soak_s / 3600.0
    samples = int(first * per_device)
    if samples < rule.min_samples:
        return _too_few(rule, first, samples, soak_s, per_hour=shown.per_hour)
    what = f"{devices_of(first)} against {beside} in {span(soak_s)}, {per_device:.0f} {_words(rule)} each"
    finds = smallest_found(rule, first, beside, samples, shown=shown, tests=tests)
    limit = evidence.limit_of(rule) / shown.scale
    moves = _in_unit(rule, shown.spread, shown.scale)
    source = (
        f"{shown.devices} devices of this fleet have shown that they move by {moves}"
        if shown.devices
        else f"assumed that devices move by {moves}, until this fleet has shown it"
    )
    unseen = f"between {_in_unit(rule, limit, shown.scale)} (allowed) and that much nothing trips in this wave"
    return f"{what}: finds {_harm(rule, finds, shown.scale)} with 80 %; {unseen}; {source}{_choices(first, beside)}"


def _choices(first: int, beside: int) -> str:
    """Says that so few devices alone show nothing, with the number of ways to choose them; empty for enough devices."""
    ways = math.comb(first + beside, first)
    if not beside or ways >= 1 / evidence.FALSE_ALARM:
        return ""
    return (
        f"; {first} of {first + beside} can be chosen in {ways} ways, so that the order of devices alone shows nothing "
        f"rarer than 1 in {ways}: the verdict rests on how far they move by themselves"
    )


def alone(rule: Rule, first: int) -> str:
    """Says that a rule which compares devices has nothing to compare in the first wave, and what would help."""
    return (
        f"{devices_of(first)}, and none of their kind without the release: nothing to compare with, so that it "
        "finds no harm in this wave, however large; make the first wave smaller, or set trial.reverse_share"
    )


def _too_few(rule: Rule, first: int, samples: int, soak_s: float, *, per_hour: float) -> str:
    """Says in a sentence that `soak_s` brings too little data, and when there will be enough, if that is known."""
    words = _words(rule)
    if not per_hour:
        return f"no {words} have come from these devices so far, {rule.min_samples} needed: it cannot say anything"
    wait = span(3600.0 * rule.min_samples / (first * per_hour))
    judged = "; it judges the newest " + span(rule.judged_s) + " alone" if rule.judged_s else ""
    return (
        f"{devices_of(first)} give about {samples} {words} in {span(soak_s)}, {rule.min_samples} needed: "
        f"that takes {wait}{judged}"
    )


def judged_for_s(rule: Rule, soak_s: float) -> float:
    """Returns for how long a rule collects data: the wave's time, or its own `judged_s` if that is shorter."""
    return min(soak_s, rule.judged_s) if rule.judged_s else soak_s


def why_it_cannot_trip(rule: Rule, first: int, beside: int, soak_s: float, *, shown: Shown, tests: int = 1) -> str:
    """Says why not even the worst release could trip a rule, in devices and hours; empty if one could."""
    falls = rule.metric == "metric_decrease" and rule.change == "relative"
    worst = 1.0 if falls else {"accuracy_drop": 1.0, "agreement": 1.0}.get(rule.metric, shown.largest)
    if worst is None:
        return ""
    samples = max(rule.min_samples, int(first * shown.per_hour * soak_s / 3600.0))
    finds = smallest_found(rule, first, beside, samples, shown=shown, tests=tests)
    if finds <= worst:
        return ""
    return (
        f"rule {rule.title}: {devices_of(first)} against {beside} in {span(soak_s)} find "
        f"{_harm(rule, finds)} at the least, and none can be larger than {_in_unit(rule, worst)}: it can never fail; "
        "allow less, make the first wave larger or its soak longer"
    )


def smallest_found(rule: Rule, first: int, beside: int, samples: int, *, shown: Shown, tests: int = 1) -> float:
    """Returns the smallest harm that is found with a probability of 80 %, in the unit of the effect."""
    noise = shown.noise_of_one * first / max(samples, 1)
    others = 1.0 / beside if beside and rule.metric != "agreement" else 0.0
    variance = (shown.spread**2 + noise) * (1.0 / max(first, 1) + others)
    degrees = max(first - 1, 0) + max(beside - 1, 0) * (others > 0) + PRIOR_DEGREES
    found = evidence.detectable(variance, degrees, tests * named.directions(rule))
    return evidence.limit_of(rule) / shown.scale + found


def _sample_of(metric: Metric, past: Compared) -> Sample | None:
    match metric:
        case "accuracy_drop":
            return evidence.accuracy_sample(past)
        case "error_increase":
            return evidence.error_sample(past)
        case "error_ratio":
            return evidence.failure_sample(past)
        case _:
            return None


def past_of(table: Table, kinds: dict[str, str]) -> Compared:
    """Returns a fleet's past as if no device had had the release."""
    names = evidence.names_of(sorted(set(kinds.values())))
    stratum = np.array([names.get(kinds.get(name, ""), -1) for name in table.names], dtype=np.int64)
    known = stratum[table.device] >= 0 if len(stratum) else np.zeros(0, dtype=bool)
    return Compared(table.where(known), stratum, np.full(len(table.names), math.inf))


def _in_unit(rule: Rule, effect: float, scale: float = 1.0) -> str:
    if rule.metric in NUMBER_METRICS:
        return f"{effect * scale:.4g}" if named.is_absolute(rule) else f"{effect:.1%}"
    match rule.metric:
        case "latency_ratio_p95":
            return f"{math.exp(min(effect, 50.0)):.2f} times"
        case "error_increase":
            return f"{math.expm1(min(effect, 50.0)):.1%}"
        case _:
            return f"{effect * 100:.1f} points"


def _harm(rule: Rule, effect: float, scale: float = 1.0) -> str:
    if rule.metric in NAMED_METRICS:
        word_of_change = {"metric_increase": "an increase of", "metric_decrease": "a decrease of"}
        return f"{word_of_change.get(rule.metric, 'a change of')} {_in_unit(rule, effect, scale)}"
    word = {"latency_ratio_p95": "a time of", "error_increase": "an error larger by", "agreement": "answers apart by"}
    return f"{word.get(rule.metric, 'a harm of')} {_in_unit(rule, effect)}"


def _words(rule: Rule) -> str:
    if rule.metric in NAMED_METRICS:
        return "answers" if rule.metric == "class_share" else f"numbers named {rule.name}"
    return {"agreement": "compared answers", "accuracy_drop": "labels", "error_increase": "labels"}.get(
        rule.metric, "inferences"
    )
