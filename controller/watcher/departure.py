"""A device that departs from what is usual: the amount, the figure that is the cause, and a sentence.

Decides which figure causes a score: the one without which it is lowest. This works for any model, because only its
answers are used. Refuses to know how the model is run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contract.wire import Message
from controller.fleet.vitals import FIGURES
from controller.watcher.features import CLIP, DAY_H, FEATURES, FLOORS, LOGGED, PAST_D, RANGE_H, SORTS, Departures, Fleet

WIDE = 2.0
"""The usual range: this number of spreads on either side."""
_WORDS = {
    "cpu_ratio": ("CPU", 100.0, "% of a core", 1),
    "rss_mb": ("memory", 1.0, "MB", 1),
    "temperature_c": ("temperature", 1.0, "C", 1),
    "inferences_s": ("pace", 1.0, "inferences/s", 2),
    "failure_ratio": ("failures", 100.0, "% of inferences", 2),
    "latency_ms": ("latency", 1.0, "ms", 3),
}  # fmt: skip
"""The name, the factor, the unit and the number of digits after the point of each figure."""


class Departure(Message, frozen=True):
    """One device in one hour, beyond the threshold."""

    device: str
    at: float
    """When the hour began, in seconds since 1970."""
    times: float
    """The score of the model, as a multiple of its threshold: above 1."""
    figure: str
    sort: str
    """What is unusual about the figure: its level, its rise over a day, or its range."""
    spreads: float
    """The distance from the usual value, in units of the device's usual spread; negative below it."""
    past_h: int
    """Hours of its own past with which it was compared."""
    says: str


@dataclass
class Watch:
    """The findings of the newest looks at the fleet."""

    release: int = 0
    """The version of the watcher that judged; 0: there is none."""
    threshold: float = math.inf
    hour: float = 0.0
    """The end of the newest hour that was judged, in seconds since 1970."""
    tried_at: float = 0.0
    """When the newest look began."""
    looked_at: float | None = None
    """When the newest successful look began."""
    after: tuple[str, str] | None = None
    """(stratum, device) after which the next look at a large fleet begins; None: all were judged."""
    fault: str = ""
    """Why the newest look failed."""
    judged: dict[str, bool] = field(default_factory=dict)
    """Whether the past of each device was long enough."""
    found: dict[str, Departure] = field(default_factory=dict)
    """The departures by device."""


def asked_rows(found: Departures) -> NDArray[np.float32]:
    """Returns rows for the model about the newest hour: of each device unchanged, then without one figure after the
    other.

    Shape (devices x (1 + figures), features).
    """
    newest = found.features[:, -1]
    rows = np.repeat(newest[:, None, :], 1 + len(FIGURES), axis=1)
    for place in range(len(FIGURES)):
        rows[:, 1 + place, place :: len(FIGURES)] = 0.0
    return rows.reshape(-1, len(FEATURES)).astype(np.float32)


def departed(fleet: Fleet, found: Departures, scores: Sequence[float], threshold: float, at: float) -> list[Departure]:
    """Returns the devices whose score is beyond the threshold. `scores` are the model's answers to `asked_rows`."""
    by_device = np.asarray(scores, float).reshape(len(fleet.devices), 1 + len(FIGURES))
    beyond = np.flatnonzero(found.known[:, -1] & (by_device[:, 0] > threshold))
    return [_departure(fleet, found, int(place), by_device[place], threshold, at) for place in beyond]


def _departure(  # noqa: PLR0917 - a device's place in arrays
    fleet: Fleet, found: Departures, place: int, scores: NDArray[np.float64], threshold: float, at: float
) -> Departure:
    figure = int(np.argmin(scores[1:]))
    units = found.features[place, -1, figure :: len(FIGURES)]
    sort = int(np.argmax(np.abs(units)))
    feature = sort * len(FIGURES) + figure
    told = tuple(float(part[place, -1, feature]) for part in (found.now, found.usual, found.spread))
    past = np.isfinite(fleet.means[place, -1 - PAST_D * DAY_H : -1]).any(axis=1)
    return Departure(
        device=fleet.devices[place],
        at=at,
        times=round(float(scores[0] / threshold), 3),
        figure=FIGURES[figure],
        sort=SORTS[sort],
        spreads=round(float(units[sort]), 2),
        past_h=int(past.sum()),
        says=_sentence(figure, SORTS[sort], told, float(units[sort])),
    )


def _sentence(figure: int, sort: str, told: tuple[float, ...], units: float) -> str:
    """Says what is measured, what is usual, and how far apart these are. `told` is (now, usual, spread)."""
    now, usual, spread = told
    name, factor, unit, digits = _WORDS[FIGURES[figure]]
    values = [now, usual - WIDE * spread, usual + WIDE * spread]
    if sort == "range":
        values = [max(0.0, math.exp(value) - FLOORS[figure] / 10) for value in values]
    if LOGGED[figure] and sort != "level":
        values, unit, digits = [100.0 * math.expm1(value) for value in values], "%", 1
    else:
        values = [factor * (math.exp(value) if LOGGED[figure] else value) for value in values]
    is_now, low, high = (f"{value:.{digits}f}" for value in values)
    verb = {
        "level": f"is {is_now} {unit}; {low} to {high} is usual at this hour",
        "rise": f"is {is_now} {unit} above the day before; {low} to {high} is usual",
        "range": f"moved by {is_now} {unit} in {RANGE_H} h; {low} to {high} is usual",
    }[sort]
    least = "at least " if abs(units) >= CLIP else ""
    return f"{name} {verb}: {least}{abs(units):.0f} of its spreads away"
