"""How far each device is from its own past and from its stratum, hour by hour: the input of the watcher's model.

Decides what a departure is: three numbers for each figure, in units of what is usual for the device. Refuses to know
how many of them are too many: the model and its threshold decide.

Vitals of a device depend on its place, its load and the hour of the day, and and an hour is similar to the hour
before. Therefore each hour is compared with the same hours of the days before, and what the devices of a stratum
have in common (a heat wave, a release for all) is subtracted.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.fleet.vitals import FIGURES

SORTS = ("level", "rise", "range")
"""For each figure: the mean of three hours; how much six hours lie above the same hours of the day before; how far it
moved within six hours. Each is compared with the same hours of the days before."""
FEATURES = tuple(f"{figure}_{sort}" for sort in SORTS for figure in FIGURES)
LOGGED = np.array([False, True, False, True, False, True])
"""Whether each figure is compared as a ratio: memory, pace and latency of devices differ by orders of magnitude."""
FLOORS = np.array([0.01, 0.01, 0.5, 0.05, 0.002, 0.05])
"""By figure, the smallest spread: 1 % of a core, 1 % of memory, half a degree, 5 % of the pace, 2 failures in 1,000, 5
% of the latency. Without it the first kilobyte would alarm on a device whose memory never moved."""
RANGE_FLOOR = 0.3
"""The same for ranges, which are compared as ratios."""
DAY_H, PAST_D, MIN_PAST_D = 24, 14, 3
"""A device is judged after three days, by up to two weeks."""
LEVEL_H, RANGE_H = 3, 6
AROUND_H = (-1, 0, 1)
"""Hours around the same hour of a day that are similar to it."""
MIN_KIND = 5
"""In a smaller stratum, a common change cannot be distinguished from a change of one device."""
PRIOR = 12.0
"""The spread of the stratum counts as much as so many hours of the device's own: three days have only nine."""
RISE = 2.0
"""A rise counts at most as twice the level: a device that returns to its usual level has a large fall, which is no
fault.
"""
CLIP = 30.0
"""Larger departures count as this."""
TINY = 1e-4

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fleet:
    """The vitals of devices by the hour, oldest hour first. Arrays of shape (devices, hours, figures); NaN if nothing
    was measured.
    """

    devices: tuple[str, ...]
    kinds: tuple[str, ...]
    """The stratum of each device."""
    means: Numbers
    lows: Numbers
    highs: Numbers


@dataclass(frozen=True)
class Departures:
    """What is unusual, by device and hour. Arrays of shape (devices, hours, features)."""

    features: Numbers
    """0 if nothing is unusual or nothing is known."""
    known: NDArray[np.bool_]
    """Shape (devices, hours): whether the device has a long enough past, and has sent vitals in this hour."""
    now: Numbers
    """The values that were compared with usual ones: levels or their logarithms, rises, logarithms of ranges."""
    usual: Numbers
    spread: Numbers


def departures(fleet: Fleet, newest: int | None = None) -> Departures:
    """Returns the departures of every hour, or of the `newest` so many."""
    series = _series(fleet)
    devices, hours, width = series.shape
    flat = (series - _median(series, 1)[:, None]).reshape(devices, hours * width)
    common = _by_kind(flat, fleet.kinds).reshape(series.shape)
    at = list(range(0 if newest is None else max(0, hours - newest), hours))
    found = [_at_hour(series - common, fleet.kinds, hour) for hour in at]
    features, known, usual, spread = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    return Departures(features, known, series[:, at], usual + common[:, at], spread)


def _at_hour(series: Numbers, kinds: Sequence[str], hour: int) -> tuple[Numbers, NDArray[np.bool_], Numbers, Numbers]:
    """Returns (features, known, usual, spread) of one hour, of shape (devices, features) and (devices,)."""
    days = range(1, PAST_D + 1)
    places = [hour - DAY_H * day + around for day in days for around in AROUND_H if hour - DAY_H * day + around >= 0]
    now, past = series[:, hour], series[:, places]
    if not places:
        nothing = np.zeros_like(now)
        return nothing, np.zeros(len(now), bool), nothing, nothing
    usual = _median(past, 1)
    own = 1.4826 * _median(np.abs(past - usual[:, None]), 1)
    count = np.isfinite(past).sum(axis=1)
    floors = np.concatenate([FLOORS, FLOORS, np.full(len(FIGURES), RANGE_FLOOR)])
    pooled = (count * np.square(own) + PRIOR * np.square(_by_kind(own, kinds))) / (count + PRIOR)
    spread = np.maximum(np.sqrt(pooled), floors)
    units = np.clip((now - usual) / spread, -CLIP, CLIP)
    figures = len(FIGURES)
    rises, bound = slice(figures, 2 * figures), RISE * np.abs(np.nan_to_num(units[:, :figures]))
    units[:, rises] = np.clip(units[:, rises], -bound, bound)
    told = count >= MIN_PAST_D * len(AROUND_H) - 1
    known = (told & np.isfinite(units)).any(axis=1)
    return np.where(told & np.isfinite(units), units, 0.0), known, usual, spread


def _series(fleet: Fleet) -> Numbers:
    """Returns shape (devices, hours, features): level, rise and logarithm of the range of each figure."""
    means, lows, highs = (
        np.where(LOGGED, np.log(np.maximum(part, TINY)), part) for part in (fleet.means, fleet.lows, fleet.highs)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for hours in which nothing was measured
        level, longer = _trailing(means, LEVEL_H, np.nanmean), _trailing(means, RANGE_H, np.nanmean)
        extent = _trailing(highs, RANGE_H, np.nanmax) - _trailing(lows, RANGE_H, np.nanmin)
    rise = np.full_like(longer, np.nan)
    rise[:, DAY_H:] = longer[:, DAY_H:] - longer[:, :-DAY_H]
    return np.concatenate([level, rise, np.log(extent + FLOORS / 10)], axis=2)


def _trailing(values: Numbers, hours: int, reduce: Callable[..., Numbers]) -> Numbers:
    """Returns by hour the result of `reduce` over it and the hours before it, `hours` in all."""
    front = np.full((values.shape[0], hours - 1, values.shape[2]), np.nan)
    longer, length = np.concatenate([front, values], axis=1), values.shape[1]
    made = reduce(np.stack([longer[:, first : first + length] for first in range(hours)]), axis=0)
    return np.where(np.isfinite(values), made, np.nan)  # an hour without data has no value


def _by_kind(values: Numbers, kinds: Sequence[str]) -> Numbers:
    """Returns for each device the median of its stratum, of shape (devices, features); of few devices that of the
    fleet, or 0.
    """
    named, made = np.array(kinds), np.zeros_like(values)
    if len(named) >= MIN_KIND:
        made[:] = _median(values, 0)
    for kind in set(kinds):
        there = named == kind
        if there.sum() >= MIN_KIND:
            made[there] = _median(values[there], 0)
    return np.nan_to_num(made)


def _median(values: Numbers, axis: int) -> Numbers:
    """Returns the median of the present values; NaN if there are none. numpy's own takes ten times as long."""
    ordered = np.sort(values, axis=axis)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[axis] - 1)
    ends = (np.take_along_axis(ordered, place, axis) for place in (low, high))
    return np.squeeze(sum(ends) / 2.0, axis=axis)
