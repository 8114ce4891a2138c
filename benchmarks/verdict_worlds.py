"""Realistic fleets, in arrays: devices that differ, hours that resemble the hour before, days, and shocks for all.

Decides what each device measures in each hour, from one seed. Refuses to know verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contract.histogram import LATENCY_BUCKETS
from controller.rollout.rows import COUNTS, Flags, Numbers, Rows, Table

HOUR_S = 3600.0
PAST_H = 48
LABELS = 120
INFERENCES = 720
"""Inferences of one device in one hour."""
PERSISTENCE = 0.9
_BUCKET_EDGES = np.log(2.0) / 2 * np.arange(LATENCY_BUCKETS - 1)


@dataclass(frozen=True, slots=True)
class Harm:
    """The effect of a release: points of accuracy, a factor of the time, failing inferences in one stratum, a factor of
    the error.
    """

    accuracy: float = 0.0
    times: float = 1.0
    errors_on_small: float = 0.0
    error_times: float = 1.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The parameters of a fleet."""

    devices: int = 200
    canaries: float = 0.1
    spread: float = 0.05
    """Standard deviation between devices of their accuracy; of the logarithm of their error four times that."""
    wander: float = 0.02
    """Standard deviation of the hourly changes of a device's accuracy, AR(1)."""
    reacts: float = 0.01
    """Standard deviation between devices of the effect of any release, whose mean is zero."""
    canary_h: int = 24
    half_h: int = 24
    regression: bool = False
    with_times: bool = True


class World:
    """One fleet with one release: rows of all hours, of which `until` shows those that have passed."""

    def __init__(self, fleet: Fleet, harm: Harm, seed: int) -> None:
        self.fleet = fleet
        self.hours = PAST_H + fleet.canary_h + fleet.half_h
        self._rng = np.random.default_rng(seed)
        devices = fleet.devices
        order = self._rng.permutation(devices)
        self.names = tuple(f"d{number:04}" for number in range(devices))
        self.small = np.arange(devices) >= 0.8 * devices
        """A fifth of the devices is in another stratum."""
        began = np.full(devices, np.inf)
        for kind in (self.small, ~self.small):
            members = order[kind[order]]
            canaries = int(np.ceil(fleet.canaries * len(members)))
            began[members[:canaries]] = PAST_H
            began[members[canaries : int(np.ceil(0.5 * len(members)))]] = PAST_H + fleet.canary_h
        self.began = began
        hour = np.arange(self.hours)
        self.treated: Flags = hour[None, :] >= began[:, None]
        self.table = self._table(harm)

    def until(self, hour: int) -> Rows:
        """Rows of the hours before `hour`."""
        return _Shown(self.table.where(self.table.start < hour * HOUR_S))

    def _table(self, harm: Harm) -> Table:
        shape = (self.fleet.devices, self.hours)
        columns = self._regression(harm) if self.fleet.regression else self._classes(harm)
        counts = np.stack([np.broadcast_to(columns.get(name, 0.0), shape).reshape(-1) for name in COUNTS], axis=1)
        size = counts.shape[0]
        return Table(
            names=self.names,
            device=np.repeat(np.arange(shape[0]), shape[1]),
            start=np.tile(np.arange(shape[1]) * HOUR_S, shape[0]),
            treated=self.treated.reshape(-1),
            counts=counts.astype(np.float64),
            row=np.arange(size),
            latency=self._times(harm).reshape(size, LATENCY_BUCKETS),
        )

    def _classes(self, harm: Harm) -> Mapping[str, Numbers]:
        fleet = self.fleet
        level = self._base(0.85, fleet.spread) + self._weather(0.03, 0.02) + self._walk(fleet.wander)
        reacts = self._rng.normal(0, fleet.reacts, fleet.devices)[:, None]
        right = np.clip(level - self.treated * (harm.accuracy + reacts), 0.02, 0.995)
        broken = (
            self._rng.exponential(0.002, fleet.devices)[:, None]
            + self.treated * self.small[:, None] * harm.errors_on_small
        )
        return {
            "inferences": np.asarray(INFERENCES, np.float64),
            "errors": self._rng.binomial(INFERENCES, np.clip(broken, 0, 1), self.treated.shape).astype(np.float64),
            "labelled": np.asarray(LABELS, np.float64),
            "correct": self._rng.binomial(LABELS, right).astype(np.float64),
        }

    def _regression(self, harm: Harm) -> Mapping[str, Numbers]:
        fleet = self.fleet
        level = self._base(0.0, 4 * fleet.spread) + self._weather(0.1, 0.05) + self._walk(2.5 * fleet.wander)
        reacts = self._rng.normal(0, 2 * fleet.reacts, fleet.devices)[:, None]
        scale = np.exp(level + self.treated * (np.log(harm.error_times) + reacts))
        errors = np.abs(self._rng.normal(0, 1, (*self.treated.shape, LABELS))) * scale[..., None]
        return {
            "inferences": np.asarray(INFERENCES, np.float64),
            "labelled": np.asarray(LABELS, np.float64),
            "measured": np.asarray(LABELS, np.float64),
            "absolute_error_sum": errors.sum(axis=2),
            "squared_error_sum": (errors**2).sum(axis=2),
        }

    def _times(self, harm: Harm) -> Numbers:
        devices, hours = self.treated.shape
        if not self.fleet.with_times:
            return np.zeros((devices, hours, LATENCY_BUCKETS), np.uint32)
        middle = np.log(2000) + self._base(0.0, 0.3) + self._weather(0.05, 0.05) + self._walk(0.05)
        middle = middle + self.treated * np.log(harm.times)
        below = _normal_cdf((_BUCKET_EDGES[None, None, :] - middle[..., None]) / 0.5)
        parts = np.diff(below, axis=2, prepend=0.0, append=1.0)
        return self._rng.multinomial(INFERENCES, np.clip(parts, 0, 1) / parts.sum(axis=2, keepdims=True)).astype(
            np.uint32
        )

    def _base(self, middle: float, spread: float) -> Numbers:
        return np.asarray(middle + spread * self._rng.normal(size=(self.fleet.devices, 1)))

    def _walk(self, spread: float) -> Numbers:
        """Returns each device's own AR(1), shape (devices, hours)."""
        return _autocorrelated(self._rng.normal(size=self.treated.shape), spread)

    def _weather(self, season: float, shocks: float) -> Numbers:
        """Returns a day, an AR(1) for all, and sometimes three bad hours for all, with a weight for each device."""
        hour = np.arange(self.hours)
        days = season * np.sin(2 * np.pi * (hour + 24 * self._rng.random()) / 24)
        common = _autocorrelated(self._rng.normal(size=(1, self.hours)), shocks)[0]
        bad = np.convolve(self._rng.random(self.hours) < 1 / 72, np.ones(3))[: self.hours] > 0
        feels = self._rng.uniform(0.5, 1.5, (self.fleet.devices, 1))
        return np.asarray(feels * (days + common - 3 * shocks * bad)[None, :])


class _Shown(Rows):
    """Rows that have been shown already."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._shown = table

    def table(self) -> Table:
        return self._shown


def _autocorrelated(noise: Numbers, spread: float) -> Numbers:
    found = np.empty_like(noise)
    found[:, 0] = noise[:, 0]
    fresh = np.sqrt(1 - PERSISTENCE**2)
    for hour in range(1, noise.shape[1]):
        found[:, hour] = PERSISTENCE * found[:, hour - 1] + fresh * noise[:, hour]
    return spread * found


def _normal_cdf(x: Numbers) -> Numbers:
    """The normal distribution's cumulative density, to 1e-5 (Abramowitz and Stegun 26.2.17 without tables)."""
    return np.asarray(0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
