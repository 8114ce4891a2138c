"""Pipelines drawn from a seed: columns of several kinds and scales, missing cells, steps, and an estimator.

The fuzzer of conversions and its benchmark draw the same ones. Rows are few, because many pipelines count more than
many rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

ROWS, FRESH_ROWS = 150, 300
SITES = np.array(["a", "b b", "c", "Ä", "007"], dtype=object)

CLASSIFIERS: tuple[Any, ...] = (
    lambda: LogisticRegression(max_iter=200), lambda: RandomForestClassifier(5, random_state=0),
    lambda: ExtraTreesClassifier(5, random_state=0), lambda: DecisionTreeClassifier(random_state=0),
    lambda: GradientBoostingClassifier(n_estimators=5), lambda: HistGradientBoostingClassifier(max_iter=5),
    GaussianNB, lambda: KNeighborsClassifier(3), RidgeClassifier, lambda: SGDClassifier(random_state=0),
    lambda: LinearSVC(random_state=0), lambda: SVC(),
)  # fmt: skip
REGRESSORS: tuple[Any, ...] = (
    LinearRegression, Ridge, lambda: RandomForestRegressor(5, random_state=0),
    lambda: ExtraTreesRegressor(5, random_state=0), lambda: DecisionTreeRegressor(random_state=0),
    lambda: GradientBoostingRegressor(n_estimators=5), lambda: HistGradientBoostingRegressor(max_iter=5),
    lambda: KNeighborsRegressor(3), lambda: KNeighborsRegressor(3, weights="distance"), lambda: SVR(),
)  # fmt: skip
SCALERS: tuple[Any, ...] = (
    StandardScaler, MinMaxScaler, RobustScaler, lambda: PolynomialFeatures(2),
    lambda: KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A fitted pipeline, its sample, and new rows."""

    seed: int
    model: Any
    sample: Any
    fresh: Any


def draw(seed: int) -> Drawn:
    """The same seed draws the same pipeline."""
    rng = np.random.default_rng(seed)
    classifies, mixed = rng.random() < 0.6, rng.random() < 0.6
    lacking = rng.random() < 0.4
    frame = _frame(rng, ROWS + FRESH_ROWS, mixed=mixed, lacking=lacking)
    numbers = [name for name in frame.columns if name.startswith("x")]
    signal = frame[numbers].rank().fillna(ROWS / 2).to_numpy() @ rng.normal(size=len(numbers))
    targets: Any = _classes(rng, signal) if classifies else signal / np.abs(signal).max() * 10.0 ** rng.integers(-4, 6)
    last = _one(rng, CLASSIFIERS if classifies else REGRESSORS)
    impute = lacking and (rng.random() < 0.8 or not _takes_missing(last))
    model = _mixed(rng, last, numbers, impute) if mixed else _plain(rng, last, impute)
    given: Any = frame if mixed else frame.to_numpy()
    if rng.random() < 0.3 and not mixed:
        given = given.astype(np.float32)
    sample, fresh = given[:ROWS], given[ROWS:]
    return Drawn(seed, model.fit(sample, targets[:ROWS]), sample, fresh)


def _frame(rng: np.random.Generator, rows: int, *, mixed: bool, lacking: bool) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for number in range(int(rng.integers(1, 5))):
        scale, offset = 10.0 ** rng.integers(-2, 4), rng.choice([0.0, 1.0, 1000.0])
        values = rng.normal(size=rows)
        values = np.round(values, 1) if rng.random() < 0.5 else values
        columns[f"x{number} (m²)"] = (values + offset) * scale
        if lacking:
            columns[f"x{number} (m²)"][rng.random(rows) < 0.1] = np.nan
    if mixed:
        columns["site"] = SITES[rng.integers(0, len(SITES), rows)]
        columns["count"] = rng.choice([1, 2, 5, 40], rows)
        columns["on"] = rng.random(rows) < 0.5
    return pd.DataFrame(columns)


def _classes(rng: np.random.Generator, signal: Any) -> Any:
    cuts = np.quantile(signal, [0.5] if rng.random() < 0.6 else [0.3, 0.7])
    numbers = np.searchsorted(cuts, signal)
    return np.array(["dry", "rain", "snow"])[numbers] if rng.random() < 0.3 else numbers


def _mixed(rng: np.random.Generator, last: Any, numbers: list[str], impute: bool) -> Any:
    encoders: tuple[Any, ...] = (
        lambda: OneHotEncoder(handle_unknown="ignore"),
        lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    parts = [
        ("numbers", _steps(rng, impute, "passthrough"), numbers),
        ("texts", _one(rng, encoders), ["site"]),
        ("counts", _one(rng, (lambda: "passthrough", lambda: OneHotEncoder(handle_unknown="ignore"))), ["count"]),
    ]
    dense = ColumnTransformer(parts, remainder=_one(rng, (lambda: "drop", lambda: "passthrough")), sparse_threshold=0)
    return make_pipeline(dense, last)


def _plain(rng: np.random.Generator, last: Any, impute: bool) -> Any:
    steps = [] if not impute else [SimpleImputer(strategy=str(rng.choice(["mean", "median"])))]
    steps += [_one(rng, SCALERS)] if rng.random() < 0.6 and (impute or not _takes_missing(last)) else []
    steps += [SelectKBest(f_classif, k=1)] if rng.random() < 0.1 and steps and hasattr(last, "predict_proba") else []
    return make_pipeline(*steps, last)


def _steps(rng: np.random.Generator, impute: bool, otherwise: str) -> Any:
    steps = [("impute", SimpleImputer())] if impute else []
    steps += [("scale", _one(rng, SCALERS[:3]))] if rng.random() < 0.6 else []
    return Pipeline(steps) if steps else otherwise


def _takes_missing(last: Any) -> bool:
    return "Hist" in type(last).__name__ or "Forest" in type(last).__name__ or "Tree" in type(last).__name__


def _one(rng: np.random.Generator, makers: tuple[Any, ...]) -> Any:
    return makers[int(rng.integers(len(makers)))]()
