"""Histogram gradient boosting with categories: its splits by sets answer unknown and missing ones as scikit-learn's."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from contract.answers.tree_thresholds import thresholds_of
from contract.errors import BadInput
from controller.convert.estimator import load_estimator
from edgeward.encode import encode_model
from tests.controller.fuzzed import fuzz

ROWS, FRESH_ROWS = 400, 400
FITS = 40
RIGHT = ("right", "0.0% of fresh rows differ")


def of_dtype(boosting: Any, rows: pd.DataFrame, target: Any) -> tuple[Any, Any]:
    known = pd.CategoricalDtype(sorted(rows["a"].dropna().unique()))

    def typed(given: pd.DataFrame) -> pd.DataFrame:
        return given.astype({"a": known})

    return boosting(categorical_features="from_dtype").fit(typed(rows), target), typed


def behind_columns(boosting: Any, rows: pd.DataFrame, target: Any) -> tuple[Any, Any]:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("n", "passthrough", ["x", "z"]), ("c", codes, ["a", "b"])])
    return make_pipeline(columns, boosting(categorical_features=[2, 3])).fit(rows, target), lambda given: given


def of_numbers(boosting: Any, rows: pd.DataFrame, target: Any) -> tuple[Any, Any]:
    kept = ["b", "x", "z"]
    return boosting(categorical_features=[0]).fit(rows[kept], target), lambda given: given[kept]


def of_names(boosting: Any, rows: pd.DataFrame, target: Any) -> tuple[Any, Any]:
    return boosting(categorical_features=["a", "b"]).fit(rows, target), lambda given: given


FORMS = (of_dtype, behind_columns, of_numbers, of_names)


def drawn(rng: np.random.Generator, rows: int, names: list[str], codes: list[int], holes: float) -> pd.DataFrame:
    """Rows whose real numbers are the same in float32: only the categories are tested here."""
    frame = pd.DataFrame(
        {
            "x": np.round(rng.normal(50, 20, rows) * 4) / 4,
            "a": rng.choice(np.array(names, dtype=object), rows),
            "z": rng.integers(0, 9, rows),
            "b": rng.choice(codes, rows).astype(float if holes else int),
        }
    )
    for column in ("x", "a", "b"):
        frame.loc[rng.random(rows) < holes, column] = None
    return frame


def fuzzed(seed: int) -> tuple[str, str]:
    rng = np.random.default_rng(seed)
    names, codes = [f"c{at}ä" for at in range(rng.choice([2, 5, 30, 120]))], list(range(rng.choice([2, 6, 40])))
    holes = float(rng.choice([0.0, 0.1]))
    rows = drawn(rng, ROWS, names, codes, holes)
    fresh = drawn(rng, FRESH_ROWS, [*names, "new"], [*codes, -1, 99, len(codes)], holes)
    of_a = rows["a"].map({name: float(rng.normal()) for name in names}).astype(float).fillna(0)
    score = rows["x"].fillna(3) / 20 + 2 * of_a + 2 * np.sin(rows["b"].fillna(7) * 3)
    kind = rng.choice(3)
    target = score if kind == 0 else np.digitize(score, np.quantile(score, [0.4, 0.7][:kind]))
    of_kind = HistGradientBoostingRegressor if kind == 0 else HistGradientBoostingClassifier
    boosting = partial(of_kind, max_iter=int(rng.choice([3, 15])), random_state=seed)
    model, typed = FORMS[seed % len(FORMS)](boosting, rows, target)
    outcome = fuzz(model, typed(rows), typed(fresh), live=seed % 2 == 0)
    return outcome.outcome, outcome.words


@pytest.mark.parametrize("seed", range(len(FORMS)), ids=[form.__name__ for form in FORMS])
def test_unknown_and_missing_categories_are_answered_as_by_scikit_learn(seed: int) -> None:
    assert fuzzed(seed) == RIGHT


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_forty_random_fits_with_categories_have_no_different_fresh_row() -> None:
    assert Counter(map(fuzzed, range(100, 100 + FITS))) == {RIGHT: FITS}


def small() -> tuple[pd.DataFrame, Any]:
    rows = drawn(np.random.default_rng(5), 150, ["p", "q", "r"], [0, 1, 2, 3], 0.0)
    return rows, rows["x"] + 50 * (rows["a"] == "q") + 20 * (rows["b"] == 2)


def test_boosting_by_categories_inside_another_estimator_is_converted_correctly() -> None:
    rows, target = small()
    kept = rows[["b", "x", "z"]]
    boosting = HistGradientBoostingRegressor(categorical_features=["b"], max_iter=3)
    model = StackingRegressor([("boosting", boosting)], LinearRegression(), cv=2).fit(kept, target)
    assert fuzz(model, kept, kept, live=True).words == RIGHT[1]


def test_a_pushed_file_with_categories_loads_and_another_partial_does_not() -> None:
    rows, target = small()
    model = HistGradientBoostingRegressor(categorical_features=["a", "b"], max_iter=3).fit(rows, target)
    loaded = load_estimator(encode_model(model)[1], ())
    assert (loaded.predict(rows) == model.predict(rows)).all()
    foreign = FunctionTransformer(partial(np.clip, a_min=0, a_max=1)).fit(rows[["x"]])
    with pytest.raises(BadInput, match=r"would run while it is converted|unknown types"):
        load_estimator(encode_model(foreign)[1], ())
    opening = FunctionTransformer(partial(np.log1p)).fit(rows[["x"]])
    with pytest.raises(BadInput, match="would run while it is converted"):
        load_estimator(encode_model(opening)[1], ())


def test_rows_are_placed_at_the_thresholds_of_their_columns() -> None:
    rows, target = small()
    model = HistGradientBoostingRegressor(categorical_features=["a", "b"], max_iter=3).fit(rows, target)
    found = thresholds_of(model, 4)
    assert set(found) <= {0, 2}
    assert len(found[0]) > 1
    assert found[0].max() > 9, "thresholds of x, which lies near 50, and not of z, which ends at 8"
