"""Fairness between groups over time, with the definitions and names of Fairlearn, from counts of devices.

Rows of one device are not independent: the variance of a rate is that of a ratio over devices, never below the binomial
one. Groups with few rows are suppressed: their figures would be random, and might show one person. Source:
Fairlearn, `fairlearn.metrics`; Cochran, "Sampling Techniques", 1977 (ratio estimates over clusters). Decides rates,
intervals and suppression. Refuses to know which differences are fair.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from contract.tensors import Array
from controller.drift.shape import Shape
from controller.gates.fairness import MEASURES

MIN_GROUP_ROWS = 30
"""The same limit as in the gate before release; smaller groups are counted and not shown."""
CONFIDENCE = 0.95
_RATES = {"selection": (0, 1), "true_positive": (2, 3), "false_positive": (4, 5)}
"""The places of rows and hits in a group's six counts, by the name of a rate."""


class Rate(msgspec.Struct, frozen=True):
    """One rate of one group; None if no row of the group counts for it."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


class GroupRates(msgspec.Struct, frozen=True):
    """The rates of one group."""

    value: str
    rows: int
    selection: Rate
    true_positive: Rate
    false_positive: Rate


class Fairness(msgspec.Struct, frozen=True):
    """One column: its groups, and Fairlearn's measures between them."""

    column: str
    groups: tuple[GroupRates, ...]
    suppressed: int
    """Groups of fewer than `MIN_GROUP_ROWS` rows."""
    measures: Mapping[str, float]
    """The measures by Fairlearn's names; a measure that needs labels is missing while a group has none."""
    difference: Rate
    """The demographic parity difference with its interval."""
    devices: int


def fairness_of(by_device: Mapping[str, Shape]) -> list[Fairness]:
    """The fairness of each group column, by name of the column."""
    names = sorted({name for shape in by_device.values() for name in shape.groups})
    columns = sorted({column for name in names if (column := name.partition("=")[0]) != name})
    return [_of_column(column, names, list(by_device.values())) for column in columns]


def _of_column(column: str, names: Sequence[str], shapes: Sequence[Shape]) -> Fairness:
    counts = {
        name.partition("=")[2]: np.array([shape.groups.get(name, (0,) * 6) for shape in shapes], dtype=np.float64)
        for name in names
        if name.partition("=")[0] == column
    }
    large = {value: found for value, found in counts.items() if found[:, 0].sum() >= MIN_GROUP_ROWS}
    groups = tuple(_group(value, found, len(large)) for value, found in large.items())
    return Fairness(
        column=column,
        groups=groups,
        suppressed=len(counts) - len(large),
        measures=_measures(groups),
        difference=_difference(groups),
        devices=sum(any(name.startswith(f"{column}=") for name in shape.groups) for shape in shapes),
    )


def _group(value: str, counts: Array, groups: int) -> GroupRates:
    rates = {name: _rate(counts[:, rows], counts[:, hits], groups) for name, (rows, hits) in _RATES.items()}
    return GroupRates(value=value, rows=int(counts[:, 0].sum()), **rates)


def _rate(
    rows: Array,
    hits: Array,
    groups: int,
) -> Rate:
    total = float(rows.sum())
    if not total:
        return Rate(None, None, None, 0)
    value = float(hits.sum()) / total
    devices = int((rows > 0).sum())
    smoothed = (float(hits.sum()) + 1) / (total + 2)
    variance = smoothed * (1 - smoothed) / total
    if devices > 1:
        variance = max(variance, float(((hits - value * rows) ** 2).sum()) / total**2 * devices / (devices - 1))
    half = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / max(1, groups)) * math.sqrt(variance)
    return Rate(value, max(0.0, value - half), min(1.0, value + half), int(total))


def _measures(groups: Sequence[GroupRates]) -> dict[str, float]:
    """Fairlearn's measures over the groups that are shown; none with fewer than two of them."""
    if len(groups) < 2:
        return {}
    rates = {name: [getattr(group, name).value for group in groups] for name in _RATES}
    labelled = all(value is not None for name in ("true_positive", "false_positive") for value in rates[name])
    return {
        name: round(call(rates), 6) for name, call in MEASURES.items() if labelled or name.startswith("demographic_")
    }


def _difference(groups: Sequence[GroupRates]) -> Rate:
    """Returns the demographic parity difference, with an interval from the intervals of the two groups
    furthest apart.
    """
    known = [
        (rate.value, rate.low, rate.high)
        for rate in (group.selection for group in groups)
        if rate.value is not None and rate.low is not None and rate.high is not None
    ]
    rows = sum(group.rows for group in groups)
    if len(known) < 2:
        return Rate(None, None, None, rows)
    (most, most_low, most_high), (least, least_low, least_high) = max(known), min(known)
    half = max(math.hypot(most_high - most, least - least_low), math.hypot(most - most_low, least_high - least))
    value = most - least
    return Rate(value, max(0.0, value - half), min(1.0, value + half), rows)
