"""Fits a watcher on the history of a fleet, and finds a threshold with few alerts.

Decides the model: the squared distance of an hour from a device's usual hours, in the space of principal components,
each divided by its spread (Hotelling's T2 over all components: the reconstruction error of the last ones is a part of
it). It is a scikit-learn pipeline with one number as its answer, so it is pushed, converted and judged as any model is.
Source: J. E. Jackson, G. S. Mudholkar, Control procedures for residuals associated with principal component analysis,
Technometrics 21 (1979). Refuses to know where the history comes from, and what a feature means.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import BadInput, Code
from contract.watcher import QUIET_H, THRESHOLD

HOUR_S, MONTH_H = 3600.0, 720
QUIET_RATIO = 0.9
"""The threshold lies above every hour of nine devices in ten: the tenth may be faulty already, and a watcher that
treats its hours as usual would not find the next one.
"""
MIN_LEFT_OUT_OF = 5
"""With this number of devices, but fewer than ten, the farthest one is left out; with fewer none."""
MARGIN, FEW_MARGIN, FEW_MONTHS = 1.25, 1.5, 10.0
"""The factor by which it lies above them, and above those of a history of less than `FEW_MONTHS` months of a
device: next month may differ from the last one. On simulated quiet fleets that makes 0.4 to 0.9 alerts for a device
and month, and the bar is 1 (`make bench ONLY=watchers`)."""
USUAL = 6.0
"""Features are limited to this before spreads are computed: otherwise a faulty device in the history would hide the
next one.
"""
MIN_ROWS = 500
"""Hours of devices: 18 features have 171 moments of second order."""
MAX_FITTED = 20_000
"""The most rows for the last step: its 190 columns need no more."""
MAX_SAMPLE = 1_000
"""Rows that go with a push, by which the conversion is judged; the farthest are among them."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A watcher that has not been pushed."""

    model: Any
    """A fitted scikit-learn pipeline that answers rows of shape (n, features) with scores of shape (n,)."""
    sample: NDArray[np.float32]
    rows: NDArray[np.float32]
    """All rows on which it was fitted."""
    metrics: dict[str, float]


def fit(hours: Sequence[Numbers], rows: Sequence[Numbers]) -> Fitted:
    """Fits a watcher. `devices` has for each device the beginnings of its hours, shape (n,), and their features,
    (n, features).

    BadInput `sample_too_small` names how many hours are missing.
    """
    there = [np.asarray(each, np.float32) for each in rows if len(each)]
    total = sum(map(len, there))
    if total < MIN_ROWS:
        words = f"{total} hours of devices with a past of three days: {MIN_ROWS} are needed. Try again in a few days"
        raise BadInput(Code.SAMPLE_TOO_SMALL, words)
    matrix = np.concatenate(there)
    model = _distance(matrix)
    scores = [np.asarray(model.predict(each), float) if len(each) else np.empty(0) for each in rows]
    threshold = threshold_of(scores)
    months = total / MONTH_H
    order = np.argsort(np.concatenate(scores))
    chosen = np.unique(np.concatenate([order[-MAX_SAMPLE // 4 :], order[:: max(1, len(order) // (MAX_SAMPLE // 2))]]))
    alarms = sum(episodes(at, each > threshold) for at, each in zip(hours, scores, strict=True)) / months
    metrics = {THRESHOLD: threshold, "alarms_per_device_month": alarms, "device_months": months, "devices": len(there)}
    return Fitted(model, matrix[chosen], matrix, metrics)


def _distance(matrix: NDArray[np.float32]) -> Any:
    """A pipeline whose answer is the squared distance: a line through squares of whitened components is exact."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    noise = 0.05 * np.random.default_rng(0).standard_normal(matrix.shape)  # a feature that never changed has no spread
    moving = np.clip(matrix, -USUAL, USUAL) + noise
    model = make_pipeline(StandardScaler(), PCA(whiten=True), PolynomialFeatures(2), LinearRegression())
    few = moving[:: max(1, len(moving) // MAX_FITTED)]
    inner = model[:2].fit(moving)
    model[2:].fit(inner.transform(few), np.square(inner.transform(few)).sum(axis=1))
    return model


def threshold_of(scores: Sequence[Numbers]) -> float:
    """The score above which an hour is reported, from all scores of each device."""
    farthest = sorted(float(each.max()) for each in scores if len(each))
    months = sum(map(len, scores)) / MONTH_H
    margin = MARGIN if months >= FEW_MONTHS else FEW_MARGIN
    left_out = len(farthest) - math.ceil(QUIET_RATIO * len(farthest))
    return margin * farthest[-1 - max(left_out, 1 if len(farthest) >= MIN_LEFT_OUT_OF else 0)]


def episodes(hours: Numbers, beyond: NDArray[np.bool_]) -> int:
    """Alerts of one device: hours above a threshold, those with fewer than `QUIET_H` between them as one."""
    at = np.asarray(hours)[beyond]
    return 0 if not len(at) else 1 + int((np.diff(at) > QUIET_H * HOUR_S).sum())
