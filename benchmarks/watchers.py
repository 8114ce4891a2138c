"""Watchers: planted faults ranked and found, and false alarms of fleets without faults, compared with a z-score and
yesterday's value.

Ours is trained on two weeks of a quiet fleet, with the threshold of `edgeward watcher train`, and judges other fleets.
The others get the threshold with as many alarms as ours on quiet fleets, which is not known in advance in practice.
Scores are scikit-learn's; parity of the converted form is a gate of each push.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row
from benchmarks.vus import vus_pr
from benchmarks.watcher_worlds import FAULTS, QUIET_D, World, world
from controller.watcher.features import DAY_H, FEATURES, FLOORS, LOGGED, Departures, departures
from edgeward.watcher.fit import HOUR_S, MONTH_H, _distance, episodes, threshold_of

Numbers = NDArray[np.float64]
DEVICES, FEW, HISTORY_D, JUDGED_D = 60, 12, 28, 28
TRAINED, PLANTED = 1, 2
SEEDS = (11, 12, 13)
USUAL_Z = 3.0


@dataclass(frozen=True)
class Judged:
    """A fleet and its usual values, from `QUIET_D` on. Arrays of shape (devices, hours, ...)."""

    world: World
    found: Departures

    @property
    def faulty(self) -> NDArray[np.bool_]:
        return self.world.faulty[:, QUIET_D * DAY_H :]


Watcher = Callable[[Judged], Numbers]


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    history = judged(world(TRAINED, DEVICES, HISTORY_D))
    watchers = {"ours": ours(history), "forest": forest(history), "z-score": z_score, "yesterday": yesterday}
    quiet = [judged(world(seed, DEVICES, QUIET_D + JUDGED_D)) for seed in SEEDS]
    limit = threshold_of(list(watchers["ours"](history)))
    alarms = _alarms(watchers["ours"], limit, quiet)
    limits = {name: _limit(watcher, alarms, quiet) for name, watcher in watchers.items()} | {"ours": limit}
    rows = [Row("false alarms", alarms, 1.0, "/device-month", "the bar; the others are set to as many", 1.0)]
    slow = [judged(world(seed, DEVICES, QUIET_D + JUDGED_D, hourly=0.99)) for seed in SEEDS]
    rows.append(_quiet("AR .99", watchers, limits, slow))
    rows.append(_alone(watchers, limits))
    told = _alarms(z_score, USUAL_Z, quiet)
    rows.append(Row("false alarms of a z-score above 3", told, 1.0, "/device-month", "the bar"))
    volumes: dict[str, list[float]] = {name: [] for name in watchers}
    for fault in FAULTS:
        rows += _fault(watchers, limits, fault, volumes)
    means = {name: float(np.mean(each)) for name, each in volumes.items()}
    return [*rows, _volume_row("all faults: VUS-PR", means, 1.0), _ill_history()]


def _quiet(name: str, watchers: dict[str, Watcher], limits: dict[str, float], fleets: list[Judged]) -> Row:
    alarms = {each: _alarms(watcher, limits[each], fleets) for each, watcher in watchers.items()}
    others = ", ".join(f"{each} {value:.2f}" for each, value in alarms.items() if each != "ours")
    return Row(f"false alarms: {name}", alarms["ours"], 1.0, "/device-month", f"the bar; {others}", 1.0)


def _alone(watchers: dict[str, Watcher], limits: dict[str, float]) -> Row:
    """Twelve devices, each alone at its place, without others to compare with. Ours is trained on their history."""
    history = judged(world(TRAINED, FEW, HISTORY_D, sites=FEW))
    own = ours(history)
    mine = {**limits, "ours": threshold_of(list(own(history)))}
    fleets = [judged(world(seed, FEW, QUIET_D + JUDGED_D, sites=FEW)) for seed in SEEDS]
    return _quiet(f"{FEW} devices, each alone at its place", {**watchers, "ours": own}, mine, fleets)


def _alarms(watcher: Watcher, limit: float, fleets: list[Judged]) -> float:
    return float(np.mean([alarms_of(watcher(each) > limit, each) for each in fleets]))


def _limit(watcher: Watcher, alarms: float, fleets: list[Judged]) -> float:
    """Returns the lowest threshold with at most so many alarms per device and month."""
    scores = [watcher(each) for each in fleets]
    low, high = 0.0, max(float(each.max()) for each in scores)
    for _ in range(30):
        middle = (low + high) / 2
        told = float(np.mean([alarms_of(each > middle, one) for each, one in zip(scores, fleets, strict=True)]))
        low, high = (middle, high) if told > alarms else (low, middle)
    return high


def _volume_row(what: str, volumes: dict[str, float], goal: float | None = None) -> Row:
    best = max((name for name in volumes if name != "ours"), key=volumes.__getitem__)
    told = ", ".join(f"{name} {value:.2f}" for name, value in volumes.items() if name != "ours")
    return Row(what, volumes["ours"], volumes[best], "", told, goal, at_least=True)


def _fault(
    watchers: dict[str, Watcher], limits: dict[str, float], fault: str, volumes: dict[str, list[float]]
) -> list[Row]:
    """Returns VUS-PR, the fraction of faults that are found while they last, and how long that takes, for one kind of
    fault.
    """
    planted = judged(world(PLANTED, DEVICES, JUDGED_D, fault))
    found, waits = {}, {}
    ill = np.flatnonzero(planted.faulty.any(axis=1))
    for name, watcher in watchers.items():
        scores = watcher(planted)
        volumes[name].append(float(np.mean([vus_pr(planted.faulty[one], scores[one]) for one in ill])))
        met = [np.flatnonzero(scores[one][planted.faulty[one]] > limits[name]) for one in ill]
        found[name] = float(np.mean([len(each) > 0 for each in met]))
        waits[name] = float(np.median([each[0] for each in met if len(each)] or [np.nan]))
    caught = ", ".join(f"{name} {value:.0%} in {waits[name]:.0f} h" for name, value in found.items() if name != "ours")
    return [
        _volume_row(f"{fault}: VUS-PR", {name: each[-1] for name, each in volumes.items()}),
        Row(f"{fault}: found, in {waits['ours']:.0f} h", found["ours"], 1.0, "", caught, 0.75, at_least=True),
    ]


def _ill_history() -> Row:
    """Returns how many leaks are found by a watcher in whose history one device of ten leaked."""
    history = judged(_partly(world(TRAINED, DEVICES, HISTORY_D, "memory leak"), world(TRAINED, DEVICES, HISTORY_D)))
    watcher = ours(history)
    limit, planted = threshold_of(list(watcher(history))), judged(world(PLANTED, DEVICES, JUDGED_D, "memory leak"))
    scores = watcher(planted)
    ill = np.flatnonzero(planted.faulty.any(axis=1))
    found = float(np.mean([(scores[one][planted.faulty[one]] > limit).any() for one in ill]))
    return Row("leaks found, one of ten leaked in the history", found, 1.0, "", "all", 0.75, at_least=True)


def _partly(ill: World, well: World) -> World:
    """Returns the healthy fleet with every tenth device replaced by one of the faulty fleet."""
    for part, other in zip(
        (well.fleet.means, well.fleet.lows, well.fleet.highs), (ill.fleet.means, ill.fleet.lows, ill.fleet.highs),
        strict=True,
    ):  # fmt: skip
        part[::10] = other[::10]
    return well


def judged(made: World) -> Judged:
    """Returns the rows that the controller would give a watcher, for every hour after the first two weeks."""
    return Judged(made, departures(made.fleet, made.fleet.means.shape[1] - QUIET_D * DAY_H))


def ours(history: Judged) -> Watcher:
    """The model of `edgeward watcher train`."""
    model = _distance(history.found.features[history.found.known].astype(np.float32))
    return lambda asked: _by_row(asked, model.predict)


def forest(history: Judged) -> Watcher:
    """Scores by an isolation forest on the same features."""
    from sklearn.ensemble import IsolationForest

    made = IsolationForest(n_estimators=100, random_state=0).fit(history.found.features[history.found.known])
    return lambda asked: _by_row(asked, lambda rows: -made.score_samples(rows))


def _by_row(asked: Judged, score: Callable[[NDArray[np.float32]], Numbers]) -> Numbers:
    rows = asked.found.features.reshape(-1, len(FEATURES)).astype(np.float32)
    return np.where(asked.found.known, np.asarray(score(rows), float).reshape(asked.found.known.shape), 0.0)


def z_score(asked: Judged) -> Numbers:
    """Scores by the largest |z| of a figure compared with two weeks of the device's own hours."""
    return _largest(_figures(asked), lag=0)


def yesterday(asked: Judged) -> Numbers:
    """Scores by the largest difference of a figure from the hour a day before, in spreads of such differences."""
    return _largest(_figures(asked), lag=DAY_H)


def _figures(asked: Judged) -> Numbers:
    means = asked.world.fleet.means
    return np.where(LOGGED, np.log(np.maximum(means, 1e-4)), means)


def _largest(values: Numbers, lag: int) -> Numbers:
    if lag:
        values = np.concatenate([np.zeros_like(values[:, :lag]), values[:, lag:] - values[:, :-lag]], axis=1)
    found = []
    for hour in range(QUIET_D * DAY_H, values.shape[1]):
        past = values[:, hour - QUIET_D * DAY_H + lag : hour]
        centre = 0.0 if lag else past.mean(axis=1)
        found.append(np.abs(values[:, hour] - centre) / np.maximum(past.std(axis=1), FLOORS))
    return np.stack(found, axis=1).max(axis=2)


def alarms_of(beyond: NDArray[np.bool_], asked: Judged) -> float:
    """Returns alarms per device and month."""
    return sum(episodes(_hours(asked), each) for each in beyond) / (beyond.size / MONTH_H)


def _hours(asked: Judged) -> Numbers:
    return np.arange(asked.found.known.shape[1], dtype=np.float64) * HOUR_S
