"""Vitals as they are stored, by the hour: an array for all devices.

Decides which row belongs to which hour. Refuses to know where rows are kept.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from controller.fleet.vitals import FIGURES, Vitals
from controller.watcher.features import Fleet, Numbers

HOUR_S = 3600.0


def by_hour(rows: Mapping[str, Sequence[Vitals]], kinds: Mapping[str, str], end: float, hours: int) -> Fleet:
    """The vitals of devices in the `hours` whole hours before `end`, in seconds since 1970."""
    first = math.floor(end / HOUR_S) * HOUR_S - hours * HOUR_S
    found = [_of_device(each, first, hours) for each in rows.values()]
    means, lows, highs = (
        np.stack(part) if found else np.empty((0, hours, len(FIGURES)))
        for part in (zip(*found, strict=True) if found else ((), (), ()))
    )
    return Fleet(tuple(rows), tuple(kinds.get(device, "") for device in rows), means, lows, highs)


def _of_device(rows: Sequence[Vitals], first: float, hours: int) -> tuple[Numbers, Numbers, Numbers]:
    """(means, lows, highs) of one device, of shape (hours, figures)."""
    shape = (hours, len(FIGURES))
    sums, weights, lows, highs = np.zeros(shape), np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf)
    starts = np.array([row.start for row in rows])
    hour = np.floor((starts - first) / HOUR_S).astype(int) if len(rows) else np.empty(0, int)
    there = (hour >= 0) & (hour < hours)
    if there.any():
        messages = np.array([row.messages for row in rows], float)[there, None]
        means, least, most = (
            np.array([getattr(row, part) for row in rows])[there] for part in ("means", "lows", "highs")
        )
        measured = np.isfinite(means)
        np.add.at(sums, hour[there], np.where(measured, means * messages, 0.0))
        np.add.at(weights, hour[there], np.where(measured, messages, 0.0))
        np.minimum.at(lows, hour[there], np.where(measured, least, np.inf))
        np.maximum.at(highs, hour[there], np.where(measured, most, -np.inf))
    empty = weights == 0
    return (
        np.where(empty, np.nan, sums / np.where(empty, 1.0, weights)),
        np.where(empty, np.nan, lows),
        np.where(empty, np.nan, highs),
    )
