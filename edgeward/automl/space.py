"""The pipelines that a search draws from. Each converts to ONNX by construction.

Decides families, their parameters and ranges, and which preparation the columns need. Ranges are limited by the
smallest class of devices: a drawn pipeline has at most a few MB. Refuses to know scores and measures.
"""

from collections.abc import Callable
from typing import Any, Protocol

from edgeward.automl.folds import Rows, Task

MAX_NEIGHBOUR_ROWS = 2_000
"""A neighbours model contains its rows: with more rows it is neither small nor fast."""
MAX_TEXTS = 50
"""Distinct texts up to which a column is used: each is its own input. Columns with more are left out; they are
names and free texts."""


class Draw(Protocol):
    """The part of Optuna's trial that is used here."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Draws a whole number."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draws a number."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draws one of several."""
        ...


def families_of(rows: Rows) -> tuple[str, ...]:
    """The families that these rows allow."""
    near = len(rows.target) <= MAX_NEIGHBOUR_ROWS
    return tuple(name for name in _FAMILIES if near or name != "neighbours")


def draw_pipeline(draw: Draw, rows: Rows, seed: int) -> tuple[str, Any]:
    """(family, an unfitted pipeline) with the parameters that the trial draws."""
    family = draw.suggest_categorical("family", families_of(rows))
    estimator = _FAMILIES[family](draw, rows.task, seed)
    return family, prepared(estimator, rows, scaled=family in _SCALED, gaps=family in _NO_GAPS)


def prepared(estimator: Any, rows: Rows, *, scaled: bool, gaps: bool) -> Any:
    """Returns the estimator, with the preparation that its columns need. Without texts the input is one matrix, which a
    device answers fastest.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts = [name for name in rows.text_columns if rows.features[name].nunique() <= MAX_TEXTS]
    steps: list[tuple[str, Any]] = [("impute", SimpleImputer(strategy="median"))] if gaps and rows.has_gaps else []
    steps += [("scale", StandardScaler())] if scaled else []
    if not rows.text_columns:
        return Pipeline([*steps, ("model", estimator)])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [name for name in rows.features.columns if name not in rows.text_columns]
    parts: list[tuple[str, Any, list[str]]] = [("texts", encoder, texts)] if texts else []
    if numbers:
        parts.append(("numbers", Pipeline(steps) if steps else "passthrough", numbers))
    return Pipeline([("columns", ColumnTransformer(parts)), ("model", estimator)])


def _linear(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    strength = draw.suggest_float("linear_c", 1e-3, 1e2, log=True)
    if task == "regression":
        return Ridge(alpha=1 / strength)
    return LogisticRegression(C=strength, max_iter=500, random_state=seed)


def _tree(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    return kind(
        max_depth=draw.suggest_int("tree_depth", 2, 14), min_samples_leaf=_leaf(draw, "tree"), random_state=seed
    )


def _forest(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    extra = draw.suggest_categorical("forest_extra", (False, True))
    kinds = {
        (False, "classification"): RandomForestClassifier, (False, "regression"): RandomForestRegressor,
        (True, "classification"): ExtraTreesClassifier, (True, "regression"): ExtraTreesRegressor,
    }  # fmt: skip
    return kinds[extra, task](
        n_estimators=draw.suggest_int("forest_trees", 5, 100, log=True),
        max_depth=draw.suggest_int("forest_depth", 3, 14),
        min_samples_leaf=_leaf(draw, "forest"),
        max_features=draw.suggest_categorical("forest_features", ("sqrt", 0.5, 1.0)),
        random_state=seed,
    )


def _boosted(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    kind = GradientBoostingRegressor if task == "regression" else GradientBoostingClassifier
    return kind(
        n_estimators=draw.suggest_int("boosted_trees", 10, 150, log=True),
        learning_rate=draw.suggest_float("boosted_rate", 0.02, 0.4, log=True),
        max_depth=draw.suggest_int("boosted_depth", 2, 6),
        subsample=draw.suggest_float("boosted_rows", 0.5, 1.0),
        random_state=seed,
    )


def _histogram(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(
        max_iter=draw.suggest_int("histogram_trees", 10, 200, log=True),
        learning_rate=draw.suggest_float("histogram_rate", 0.02, 0.4, log=True),
        max_leaf_nodes=draw.suggest_int("histogram_leaves", 4, 48, log=True),
        l2_regularization=draw.suggest_float("histogram_l2", 1e-6, 10, log=True),
        min_samples_leaf=draw.suggest_int("histogram_leaf", 3, 40, log=True),
        random_state=seed,
    )


def _neighbours(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsRegressor if task == "regression" else KNeighborsClassifier
    return kind(n_neighbors=draw.suggest_int("neighbours_k", 1, 25, log=True))


def _network(draw: Draw, task: Task, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if task == "regression" else MLPClassifier
    width = draw.suggest_int("network_width", 8, 128, log=True)
    layers = draw.suggest_int("network_layers", 1, 2)
    return kind(
        hidden_layer_sizes=(width,) * layers,
        alpha=draw.suggest_float("network_alpha", 1e-6, 1e-1, log=True),
        learning_rate_init=draw.suggest_float("network_rate", 5e-4, 2e-2, log=True),
        max_iter=150,
        early_stopping=True,
        random_state=seed,
    )


def _leaf(draw: Draw, family: str) -> int:
    return draw.suggest_int(f"{family}_leaf", 1, 20, log=True)


_FAMILIES: dict[str, Callable[[Draw, Task, int], Any]] = {
    "linear": _linear,
    "tree": _tree,
    "forest": _forest,
    "boosted": _boosted,
    "histogram": _histogram,
    "network": _network,
    "neighbours": _neighbours,
}
_SCALED = frozenset({"linear", "network", "neighbours"})
"""Families that need columns of one scale. Trees do not, and a scaler before them moves rows across their thresholds in
float32."""
_NO_GAPS = frozenset(_FAMILIES) - {"histogram"}
"""Families that accept no missing numbers."""
