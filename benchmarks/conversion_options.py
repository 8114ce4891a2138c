"""Estimators with options and rows that matter for whether they convert: categories, rare ones, texts.

Each is judged on rows with values that its own rows do not have: unknown categories, missing ones, other words.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.controller.fuzzed import Fuzzed, fuzz

ROWS = 300
CITIES = ["Köln", "Ulm", "Bonn", "Århus", "Zürich"]
WORDS = ["Ölgeruch,", "Straße", "naß!", "naïve-café", "kalt", "a", "x²", "日本語"]


def outcomes() -> dict[str, Fuzzed]:
    """Returns the outcome of each by its text."""
    return {name: fuzz(model, rows, fresh, live=True) for name, model, rows, fresh in (*_of_columns(), *_of_texts())}


def _rows(seed: int, cities: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    city = rng.choice(np.array([*cities, None], dtype=object), ROWS)
    return pd.DataFrame({"city": city, "size": rng.integers(0, 400, ROWS) / 4, "code": rng.integers(0, 6, ROWS)})


def _of_columns() -> Iterator[tuple[str, Any, Any, Any]]:
    rows, fresh = _rows(0, CITIES), _rows(1, [*CITIES, "Łódź"]).assign(code=np.arange(ROWS) % 9)
    target = rows["size"] / 20 + 3 * (rows["city"] == "Ulm") + 2 * (rows["code"] == 3)
    typed = {"city": pd.CategoricalDtype(CITIES)}
    columns = HistGradientBoostingRegressor(categorical_features=["city", "code"])
    yield 'HistGradientBoostingRegressor(categorical_features=["city", "code"])', columns.fit(rows, target), rows, fresh
    by_type = HistGradientBoostingClassifier(categorical_features="from_dtype").fit(rows.astype(typed), target > 3)
    known = fresh.assign(city=fresh["city"].where(fresh["city"].isin(CITIES)))
    name = 'HistGradientBoostingClassifier(categorical_features="from_dtype")'
    yield name, by_type, rows.astype(typed), known.astype(typed)
    numbers = rows[["size", "code"]]
    for nearest in (KNeighborsRegressor(weights="distance"), KNeighborsClassifier(weights="distance")):
        weighted = make_pipeline(StandardScaler(), nearest)
        yield repr(nearest), weighted.fit(numbers, rows["code"] % 3), numbers, fresh[["size", "code"]]
    chosen: tuple[dict[str, Any], ...] = ({}, {"handle_unknown": "infrequent_if_exist", "min_frequency": 55})
    for options in chosen:
        encoder = OneHotEncoder(**options)
        parts = ColumnTransformer([("city", encoder, ["city"])], remainder="passthrough")
        yield repr(encoder), make_pipeline(parts, Ridge()).fit(rows, target), rows, fresh if options else rows


def _of_texts() -> Iterator[tuple[str, Any, Any, Any]]:
    rng = np.random.default_rng(2)
    rows, fresh = (pd.Series([" ".join(each) for each in rng.choice(WORDS, (ROWS, 5))], name="note") for _ in range(2))
    for vectorizer in (
        TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2)), TfidfVectorizer(analyzer="char", ngram_range=(2, 3)),
        TfidfVectorizer(analyzer="char_wb"), TfidfVectorizer(strip_accents="unicode"), HashingVectorizer(),
    ):  # fmt: skip
        model = make_pipeline(vectorizer, Ridge()).fit(rows, rows.str.count("Straße"))
        yield repr(vectorizer), model, rows, fresh
