"""The quality of each version of a model over time, with an interval that treats the device as the unit.

Decides the interval: devices' own means, their spread beyond noise, and Student's t. Refuses to know where telemetry is
stored, and which quality is enough.
"""

from collections.abc import Iterable

import numpy as np

from contract.sequential import radius
from contract.wire import Message
from controller.rollout.by_device import Assumed, Effect, Group, level
from controller.rollout.facts import Sums, total
from controller.rollout.noise import hit_noise

CHANCE = 0.05
"""The probability that an interval misses its level: at most one in twenty."""
ACCURACIES = Assumed(levels=0.05, differences=0.05)
"""Accuracies of a fleet's devices differ by 5 points, unless data show otherwise."""


class QualityPoint(Message, frozen=True):
    """The quality of one version in one interval of time."""

    start: float
    """Seconds since 1970."""
    span_s: float
    release: int
    metric: str
    """accuracy of a classifier, mean_absolute_error of a regression; empty without labels."""
    value: float | None
    """The mean over devices; None without labels."""
    low: float | None
    high: float | None
    labels: int
    devices: int
    """Devices with labels."""
    inferences: int
    inferring: int
    """Devices with inferences."""


def quality(past: Iterable[tuple[str, int, float, Sums]], span_s: float) -> list[QualityPoint]:
    """Returns points by time and release, oldest first. `past` is (device, release, start, sums)."""
    cells: dict[tuple[float, int], dict[str, list[Sums]]] = {}
    for device, release, start, sums in past:
        cells.setdefault((start // span_s * span_s, release), {}).setdefault(device, []).append(sums)
    return [_point(key, span_s, [total(each) for each in cells[key].values()]) for key in sorted(cells)]


def _point(key: tuple[float, int], span_s: float, sums: list[Sums]) -> QualityPoint:
    metric, effect = _level_of(sums)
    half = radius(effect.variance, CHANCE, effect.degrees) if effect is not None else 0.0
    return QualityPoint(
        start=key[0],
        span_s=span_s,
        release=key[1],
        metric=metric,
        value=None if effect is None else effect.value,
        low=None if effect is None else max(0.0, effect.value - half),
        high=None if effect is None else effect.value + half if metric != "accuracy" else min(1.0, effect.value + half),
        labels=0 if effect is None else effect.samples,
        devices=0 if effect is None else effect.devices,
        inferences=sum(each.inferences for each in sums),
        inferring=sum(each.inferences > 0 for each in sums),
    )


def _level_of(sums: list[Sums]) -> tuple[str, Effect | None]:
    """Returns (metric, the mean over devices); of numbers if any are measured, else of classes."""
    measured = [each for each in sums if each.measured]
    if measured:
        return "mean_absolute_error", _of_errors(measured)
    labelled = [each for each in sums if each.labelled]
    if not labelled:
        return "", None
    counts, hits = (np.array([getattr(each, name) for each in labelled], float) for name in ("labelled", "correct"))
    return "accuracy", level(_group(hits / counts, hit_noise(counts, hits), counts), ACCURACIES)


def _of_errors(sums: list[Sums]) -> Effect:
    counts, errors, squares = (
        np.array([getattr(each, name) for each in sums], float)
        for name in ("measured", "absolute_error_sum", "squared_error_sum")
    )
    means = errors / counts
    noise = np.maximum(squares / counts - means**2, 0.0) / counts
    spread = 0.2 * float(means.mean())
    return level(_group(means, np.maximum(noise, 1e-12), counts), Assumed(levels=spread, differences=spread))


def _group(means: np.ndarray, noise: np.ndarray, counts: np.ndarray) -> Group:
    none = np.zeros(len(means))
    return Group(means, noise, none, none + np.inf, counts)
