"""The signals of sensors, and the faults of sensors: noise, drift, stuck values, spikes, dropouts.

The true signal is a level with a season. The label tells whether it is positive. A sensor shows the signal with its
faults, so a good model answers wrongly when its sensor is faulty. Refuses to know models.
"""

import math
from random import Random
from typing import Annotated

import msgspec

from agent.ports import Sample
from contract.wire import Message

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Magnitude = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_HOUR_S = 3600.0
PERSISTENCE = 0.9
"""How much of an hour's value persists in the next one."""
_STEADY = Sample({"x": 1.0}, label=1)


class Signal(Message, frozen=True):
    """The measured signal and the sensor's faults. Sensor faults end with all other faults; seasons do not."""

    level: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)] = 1.0
    season: Magnitude = 0.0
    """Amplitude of the season around the level."""
    season_h: Annotated[float, msgspec.Meta(gt=0, le=1e5)] = 24.0
    noise: Magnitude = 0.0
    """The standard deviation of the noise that the sensor adds to each value."""
    noise_spread: Magnitude = 0.0
    """Standard deviation between devices of the logarithm of their noise: some devices are always less accurate."""
    noise_wander: Magnitude = 0.0
    """Standard deviation of the logarithm of each device's noise from hour to hour, each like the one before."""
    noise_shocks: Magnitude = 0.0
    """The same of hours that all devices share."""
    drift_per_h: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)] = 0.0
    """The value that the sensor adds to each value for every hour that has passed."""
    spike: Rate = 0.0
    """The fraction of values to which `spike_size` is added or from which it is subtracted."""
    spike_size: Magnitude = 10.0
    dropout: Rate = 0.0
    """The fraction of values that are missing."""
    stuck: Rate = 0.0
    """The fraction of values at which the sensor gets stuck for `stuck_rows` rows."""
    stuck_rows: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20


class Hours:
    """A number for each hour, like the one of the hour before: AR(1), normal with a standard deviation of 1."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._values: list[float] = []

    def at(self, hour: int) -> float:
        """The number of an hour, from 0."""
        while len(self._values) <= hour:
            before = self._values[-1] if self._values else self._rng.gauss(0.0, 1.0)
            self._values.append(PERSISTENCE * before + math.sqrt(1 - PERSISTENCE**2) * self._rng.gauss(0.0, 1.0))
        return self._values[hour]


class SimSensor:
    """One device's sensor. `utc_offset_h` moves its seasons, as a time zone does; `shared` are hours of all devices."""

    def __init__(self, signal: Signal, rng: Random, utc_offset_h: float = 0.0, shared: Hours | None = None) -> None:
        self._signal = signal
        self._shared = shared if signal.noise_shocks else None
        self._own = Hours(rng) if signal.noise_wander else None
        self._differs = signal.noise_spread * rng.gauss(0.0, 1.0) if signal.noise_spread else 0.0
        self._rng = rng
        self._offset_h = utc_offset_h
        self._steady = signal == Signal()
        self._stuck_for = 0
        self._shown = signal.level

    def row(self, at: float, *, faulty: bool) -> Sample | None:
        """Returns the row due at `at` (seconds since the world began) with its label; None if the sensor drops it."""
        if self._steady:
            return _STEADY
        truth = self._truth(at)
        if not faulty:
            return Sample({"x": truth}, label=int(truth > 0))
        if self._rng.random() < self._signal.dropout:
            return None
        return Sample({"x": self._show(truth, at)}, label=int(truth > 0))

    def _truth(self, at: float) -> float:
        turns = (at / _HOUR_S + self._offset_h) / self._signal.season_h
        return self._signal.level + self._signal.season * math.sin(2 * math.pi * turns)

    def _show(self, truth: float, at: float) -> float:
        signal, rng = self._signal, self._rng
        if self._stuck_for:
            self._stuck_for -= 1
            return self._shown
        shown = truth + signal.drift_per_h * at / _HOUR_S + (rng.gauss(0.0, self._noise(at)) if signal.noise else 0.0)
        if rng.random() < signal.spike:
            shown += rng.choice((-1, 1)) * signal.spike_size
        if rng.random() < signal.stuck:
            self._stuck_for = signal.stuck_rows
        self._shown = shown
        return shown

    def _noise(self, at: float) -> float:
        """The standard deviation of the noise at a moment."""
        signal, hour = self._signal, int(at // _HOUR_S)
        moved = self._differs
        if self._own is not None:
            moved += signal.noise_wander * self._own.at(hour)
        if self._shared is not None:
            moved += signal.noise_shocks * self._shared.at(hour)
        return signal.noise * math.exp(moved) if moved else signal.noise
