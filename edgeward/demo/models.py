"""Three models on 50 years of daily weather from Bellevue, Nebraska, which predict rain.

The data is NOAA's (a work of the US government, in the public domain), standardised as in Souza et al. 2020.
"""

import gzip
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

LABEL = "rain"
TRAINED_UNTIL = 4500
"""The rows before this one are for training; devices replay the later ones."""
FIRST_YEAR = 365


def weather_file() -> Path:
    """Returns the path of the data as a file on disk."""
    with as_file(files("edgeward.demo") / "weather.csv.gz") as path:
        return path


def load_weather() -> tuple[Any, Any]:
    """Returns (features as a DataFrame of float32, labels as a Series of int) in the order of time."""
    import pandas as pd

    with gzip.open(weather_file(), "rt") as file:
        rows = pd.read_csv(file)
    return rows.drop(columns=LABEL).astype(np.float32), rows[LABEL].astype(int)


def train_first() -> tuple[Any, Any]:
    """Returns v1 (fitted model, sample rows): a linear model of the first year."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, rain = load_weather()
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return model.fit(features[:FIRST_YEAR], rain[:FIRST_YEAR]), features[:TRAINED_UNTIL]


def train_better() -> tuple[Any, Any]:
    """Returns v2 (fitted model, sample rows): a forest of twelve years."""
    from sklearn.ensemble import RandomForestClassifier

    features, rain = load_weather()
    model = RandomForestClassifier(n_estimators=60, max_depth=10, random_state=0)
    return model.fit(features[:TRAINED_UNTIL], rain[:TRAINED_UNTIL]), features[:TRAINED_UNTIL]


def train_on_other_scale() -> tuple[Any, Any]:
    """Returns v3, fitted on readings in another unit.

    ONNX and scikit-learn answer the same, so parity cannot detect it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, rain = load_weather()
    other_unit = features * np.float32(10) - np.float32(50)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return model.fit(other_unit[:TRAINED_UNTIL], rain[:TRAINED_UNTIL]), features[:TRAINED_UNTIL]
