"""Weeks of counts that are made from one seed, for tests of drift and of estimated quality."""

import numpy as np

from contract.captured import CapturedRow
from contract.distributions import CONFIDENCE_EDGES
from contract.tensors import Array
from controller.drift.quality import Labelled, QualityEstimate, estimate, middles
from controller.drift.shape import Shape

WEEK_S = 7 * 86_400.0
NOW = 200 * WEEK_S
EDGES = np.linspace(-1.5, 1.5, 9)
BINS = len(CONFIDENCE_EDGES) + 2


def binned(values: Array) -> tuple[int, ...]:
    return tuple(np.bincount(np.searchsorted(EDGES, values) + 1, minlength=11).tolist())


def walk(random: np.random.Generator, hours: int, persistence: float) -> Array:
    found, fresh = np.empty(hours), np.sqrt(1 - persistence**2)
    found[0] = random.normal()
    for hour in range(1, hours):
        found[hour] = persistence * found[hour - 1] + fresh * random.normal()
    return found


def device_weeks(seed: int, weeks: int, shift: float = 0.0, persistence: float = 0.9) -> list[tuple[int, ...]]:
    """Counts by week of one device whose sensor is AR(1), the newest first and moved by `shift`."""
    values = walk(np.random.default_rng(seed), weeks * 168, persistence).reshape(weeks, 168)
    values[-1] += shift
    return [binned(week) for week in values[::-1]]


def past_rows(devices: int, weeks: int, shift: float = 0.0, release: int = 1) -> list[tuple[str, int, float, Shape]]:
    """Rows of the store: one for each device and week."""
    return [
        (f"d{number}", release, NOW - at * WEEK_S - 3600.0, Shape(features={"x": counts}))
        for number in range(devices)
        for at, counts in enumerate(device_weeks(number, weeks, shift))
    ]


class Fleet:
    """Weeks of a classifier: confidence by week, how right it was, and twenty labels a day, half of unsure rows."""

    def __init__(self, weeks: int, harm_from: int = 10**6, harm: float = 0.0, rows: int = 4000) -> None:
        random = np.random.default_rng(3)
        self.truth: list[float] = []
        self._weeks: list[Labelled] = []
        for week in range(weeks):
            level = 1.0 + 0.5 * np.sin(week / 4)
            chance = 1 / (1 + np.exp(-random.normal(level, 1.5, rows)))
            confidence = np.maximum(chance, 1 - chance)
            right = random.random(rows) < confidence - harm * (week >= harm_from)
            asked = np.union1d(np.arange(70), np.argsort(confidence)[:70])
            bins = np.searchsorted(CONFIDENCE_EDGES, confidence) + 1
            self.truth.append(float(right.mean()))
            self._weeks.append(Labelled(_count(bins[asked]), _count(bins[asked][right[asked]]), _count(bins)))

    def estimate(self, week: int) -> QualityEstimate:
        """Returns the estimate at the end of a week, when its own labels are not known yet."""
        return estimate(self._weeks[week].met, self._weeks[:week][::-1], middles(CONFIDENCE_EDGES))


def _count(bins: Array) -> Array:
    return np.bincount(bins, minlength=BINS).astype(np.float64)


def captured(at: float, confidence: float | None = 0.9, label: str | None = None, value: str = "a") -> CapturedRow:
    return CapturedRow(
        at=at, model="m", release=1, why="sampled", inputs={"x": 1.0}, value=value, confidence=confidence, label=label
    )
