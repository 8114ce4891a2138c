"""Simulated fleets for the watcher: vitals by the hour, quiet or with one planted fault on some devices.

Devices differ, each hour is similar to the hour before (AR(1)), days and weeks have patterns, sites share heat
waves, a release for all changes memory and latency of every device in one hour, and agents restart at times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.fleet.vitals import FIGURES
from controller.watcher.features import Fleet

Numbers = NDArray[np.float64]
PER_HOUR = 12
FAULTS = ("memory leak", "hot device", "CPU runaway", "stuck sensor", "latency drift")
CPU, RSS, TEMPERATURE, PACE, FAILED, LATENCY = range(len(FIGURES))
FAULT_H = {"memory leak": 72, "hot device": 24, "CPU runaway": 12, "stuck sensor": 48, "latency drift": 48}
SITES = 4
QUIET_D = 14


@dataclass(frozen=True)
class World:
    """A fleet by the hour, and which hours of which device are faulty, of shape (devices, hours)."""

    fleet: Fleet
    faulty: NDArray[np.bool_]


def world(seed: int, devices: int, days: int, fault: str = "", *, hourly: float = 0.9, sites: int = SITES) -> World:
    """A fleet of so many devices; of a fault every second device has it, at its own hour after `QUIET_D`."""
    random = np.random.default_rng(seed)
    fine = _quiet(random, devices, days * 24 * PER_HOUR, hourly, np.arange(devices) % sites)
    faulty = np.zeros((devices, days * 24), bool)
    if fault:
        for device in range(0, devices, 2):
            length = FAULT_H[fault]
            first = int(random.integers(QUIET_D * 24, days * 24 - length))
            faulty[device, first : first + length] = True
            _plant(fine[device], fault, first * PER_HOUR, (first + length) * PER_HOUR)
    by_hour = fine.reshape(devices, days * 24, PER_HOUR, len(FIGURES))
    wobble = 1.0 + 0.01 * np.abs(random.normal(size=(*by_hour.shape[:2], len(FIGURES))))
    names, kinds = (f"d{number}" for number in range(devices)), (f"site-{number % sites}" for number in range(devices))
    fleet = Fleet(
        tuple(names), tuple(kinds), by_hour.mean(axis=2), by_hour.min(axis=2) / wobble, by_hour.max(axis=2) * wobble
    )
    return World(_unwobbled(fleet, by_hour), faulty)


def _unwobbled(fleet: Fleet, by_hour: Numbers) -> Fleet:
    """A stuck sensor repeats one number: its range is zero."""
    still = by_hour.max(axis=2) == by_hour.min(axis=2)
    lows, highs = np.where(still, fleet.means, fleet.lows), np.where(still, fleet.means, fleet.highs)
    return Fleet(fleet.devices, fleet.kinds, fleet.means, lows, highs)


def _quiet(random: np.random.Generator, devices: int, steps: int, hourly: float, site: NDArray[np.int64]) -> Numbers:
    """Returns vitals without faults, of shape (devices, steps of five minutes, figures)."""
    hour = np.arange(steps) / PER_HOUR

    def own(low: float, high: float) -> Numbers:
        return random.uniform(low, high, (devices, 1))

    phase = own(-2, 2)
    day = np.sin(2 * np.pi * (hour + phase) / 24)
    weekend = np.where((hour // 24) % 7 >= 5, 1.0, 0.0)
    load = own(2, 20) * np.exp(
        own(0.1, 0.5) * day - own(0.0, 0.5) * weekend + 0.15 * _ar(random, devices, steps, hourly)
    )
    cpu = own(0.02, 0.1) + 0.02 * load * own(0.5, 1.0) + 0.02 * _ar(random, devices, steps, hourly)
    heat = 4.0 * _ar(random, site.max() + 1, steps, 0.995)[site] + own(2, 6) * np.sin(2 * np.pi * (hour - 9) / 24)
    temperature = own(30, 45) + heat + 15 * cpu + 0.6 * _ar(random, devices, steps, 0.95)
    release_at = int(steps * random.uniform(0.3, 0.9))
    after = np.arange(steps) >= release_at
    memory = (
        own(60, 160) * (1 + 0.01 * _ar(random, devices, steps, 0.99) + _starts(random, devices, steps)) + 12.0 * after
    )
    latency = own(2, 30) * np.exp(0.01 * load + 0.05 * _ar(random, devices, steps, 0.9)) * np.where(after, 1.2, 1.0)
    counts = np.maximum(1.0, 300 * load)
    failed = random.poisson(counts * own(0, 0.001)) / counts
    return np.stack([np.clip(cpu, 0.001, 4.0), memory, temperature, load, np.clip(failed, 0, 1), latency], axis=-1)


def _starts(random: np.random.Generator, devices: int, steps: int) -> Numbers:
    """Memory grows by 2 to 4 % after a start of the agent, which comes once in a week or so."""
    since = np.zeros((devices, steps))
    for device in range(devices):
        at = np.sort(random.integers(0, steps, random.poisson(steps / (7 * 24 * PER_HOUR))))
        began = np.concatenate([[0], at])
        since[device] = np.arange(steps) - began[np.searchsorted(began, np.arange(steps), side="right") - 1]
    return random.uniform(0.02, 0.04, (devices, 1)) * (1 - np.exp(-since / (12 * PER_HOUR)))


def _ar(random: np.random.Generator, devices: int, steps: int, hourly: float) -> Numbers:
    """AR(1) of unit spread whose values an hour apart correlate by `hourly`."""
    from scipy.signal import lfilter

    rho = hourly ** (1 / PER_HOUR)
    noise = random.normal(size=(devices, steps)) * np.sqrt(1 - rho * rho)
    noise[:, 0] = random.normal(size=devices)
    made: Numbers = lfilter([1.0], [1.0, -rho], noise, axis=1)
    return made


def _plant(device: Numbers, fault: str, first: int, end: int) -> None:
    """Changes the steps from `first` to `end` of one device, of shape (steps, figures)."""
    ramp = np.linspace(0, 1, end - first)
    part = device[first:end]
    if fault == "memory leak":
        part[:, RSS] *= 1 + 0.4 * ramp
    elif fault == "hot device":
        part[:, TEMPERATURE] += 10.0
    elif fault == "CPU runaway":
        part[:, CPU] += 0.4
        part[:, TEMPERATURE] += 6.0
    elif fault == "stuck sensor":
        part[:, TEMPERATURE] = part[0, TEMPERATURE]
    else:
        part[:, LATENCY] *= 1 + 0.6 * ramp
