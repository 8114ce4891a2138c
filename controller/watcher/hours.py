"""Vitals as they are stored, by the hour: an array for all devices.

Decides which row belongs to which hour. Refuses to know where rows are kept.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from controller.fleet.vitals import FIGURES, VitalsRows
from controller.watcher.features import Fleet, Numbers

HOUR_S = 3600.0


def by_hour(found: Iterable[VitalsRows], kinds: Mapping[str, str], end: float, hours: int) -> Fleet:
    """The vitals of devices in the `hours` whole hours before `end`, in seconds since 1970."""
    first = math.floor(end / HOUR_S) * HOUR_S - hours * HOUR_S
    names, parts = [], [np.empty((0, 3, hours, len(FIGURES)))]
    for each in found:
        names.append(each.device)
        parts.append(_of_device(each, first, hours)[None])
    made = np.concatenate(parts)
    return Fleet(tuple(names), tuple(kinds.get(name, "") for name in names), made[:, 0], made[:, 1], made[:, 2])


def _of_device(rows: VitalsRows, first: float, hours: int) -> Numbers:
    """Means, lows and highs of one device, of shape (3, hours, figures)."""
    sums, weights, lows, highs = (np.full((hours, len(FIGURES)), value) for value in (0.0, 0.0, np.inf, -np.inf))
    hour = np.floor((rows.starts - first) / HOUR_S).astype(int)
    there = (hour >= 0) & (hour < hours)
    hour, messages = hour[there], rows.messages[there, None]
    means, least, most = np.moveaxis(rows.figures[there].astype(float), 1, 0)
    measured = np.isfinite(means)
    np.add.at(sums, hour, np.where(measured, means * messages, 0.0))
    np.add.at(weights, hour, np.where(measured, messages, 0.0))
    np.minimum.at(lows, hour, np.where(measured, least, np.inf))
    np.maximum.at(highs, hour, np.where(measured, most, -np.inf))
    made = np.stack([sums / np.where(weights == 0, 1.0, weights), lows, highs])
    return np.where(weights == 0, np.nan, made)
