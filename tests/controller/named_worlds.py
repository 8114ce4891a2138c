"""Realistic fleets whose devices report their own number and answer classes: different, drifting, with a daily
pattern.
"""

from dataclasses import dataclass

import numpy as np

from contract.messages import MetricSums
from controller.rollout.analysis import Counts, Evidence, compared, judge
from controller.rollout.facts import Sums
from controller.rollout.model import Rule
from controller.rollout.named import rows_for
from controller.rollout.rows import HOUR_S, Numbers, Rows
from controller.rollout.verdict import RuleVerdict

PAST_H, JUDGED_H = 24, 24
EACH_HOUR = 40
"""Numbers, and answers, of one device in one hour."""


@dataclass(frozen=True)
class NamedFleet:
    """A fleet of which the first devices get a release after `PAST_H` hours."""

    devices: int = 40
    canaries: int = 6
    mean: float = 0.06
    """The mean of the number: a part that is scrapped (1) or not (0); above 1 for a normally distributed number."""
    spread: float = 0.3
    """Standard deviation between devices, as a part of the mean."""
    wander: float = 0.1
    """The hourly changes of a device, AR(1) .9, as a part of the mean."""
    times: float = 1.0
    """The factor of the release on the mean."""
    part: float = 0.3
    part_moves: float = 0.0
    """What the release adds to the fraction of the class "1"."""


def rows_of_fleet(fleet: NamedFleet, rule: Rule, seed: int) -> Rows:
    """Returns what the fleet measures in all hours."""
    rng = np.random.default_rng(seed)
    rows, hours, shape = rows_for([rule]), PAST_H + JUDGED_H, (fleet.devices, PAST_H + JUDGED_H)
    lasting, walk = rng.normal(0, fleet.spread, (fleet.devices, 1)), np.zeros(shape)
    step = rng.normal(0, fleet.wander, shape)
    walk[:, 0] = step[:, 0]
    for hour in range(1, hours):
        walk[:, hour] = 0.9 * walk[:, hour - 1] + np.sqrt(1 - 0.9**2) * step[:, hour]
    day = 0.15 * np.sin(2 * np.pi * np.arange(hours) / 24)
    treated = np.zeros(shape, bool)
    treated[rng.permutation(fleet.devices)[: fleet.canaries], PAST_H:] = True
    times = np.maximum(0.05, 1 + lasting + walk + day)
    means = fleet.mean * times * np.where(treated, fleet.times, 1.0)
    parts = np.clip(fleet.part + 0.2 * (lasting + walk + day) + fleet.part_moves * treated, 0.02, 0.98)
    for device in range(fleet.devices):
        for hour in range(hours):
            values = _numbers(rng, fleet.mean, means[device, hour])
            sums = MetricSums(count=len(values), sum=float(values.sum()), squared_sum=float((values**2).sum()))
            ones = int(rng.binomial(EACH_HOUR, parts[device, hour]))
            where = (f"d{device}", hour * HOUR_S)
            rows.add_row(*where, Sums(metrics={"scrap_rate": sums}), treated=bool(treated[device, hour]))
            rows.add_answers(*where, {"1": ones, "0": EACH_HOUR - ones}, treated=bool(treated[device, hour]))
    return rows


def _numbers(rng: np.random.Generator, usual: float, mean: float) -> Numbers:
    if usual < 1:
        return (rng.random(EACH_HOUR) < mean).astype(float)
    return rng.normal(mean, 0.1 * usual, EACH_HOUR)


def last_verdict(fleet: NamedFleet, rule: Rule, seed: int, every_h: int = 2) -> tuple[RuleVerdict, int]:
    """Returns (the first failing verdict or the last one, the hours after the release) of repeated checks."""
    table = rows_of_fleet(fleet, rule, seed).table()
    kinds = dict.fromkeys(table.names, "")
    for hour in range(PAST_H + every_h, PAST_H + JUDGED_H + 1, every_h):
        seen = table.where(table.start < hour * HOUR_S)
        found = judge(rule, Evidence(Counts(), compared(seen, kinds, [""], 0.0)))
        if found.word == "fail":
            break
    return found, hour - PAST_H
