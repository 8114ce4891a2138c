"""Ordinary pipelines that were once refused: each now converts, or the refusal names step, column and remedy."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from controller.convert.remedies import at_a_word, remedy
from controller.convert.sample_frame import read_sample
from tests.controller.fuzzed import fuzz

RIGHT = "0.0% of fresh rows differ"
ROWS = 200


def rows(seed: int = 0, cities: tuple[str, ...] = ("Köln", "Ulm", "Bonn", "Århus")) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    heating = rng.choice(np.array(["gas", "oil", None], dtype=object), ROWS)
    at = rng.choice(len(cities), ROWS, p=np.array([5, 3, *[1] * (len(cities) - 2)]) / (6 + len(cities)))
    return pd.DataFrame(
        {"size": rng.normal(size=ROWS), "city": np.array(cities, dtype=object)[at], "heating": heating,
         "code": rng.choice([7, 42, 42, 42, 1067], ROWS)}
    )  # fmt: skip


def fitted(encoder: Any, columns: list[str], given: pd.DataFrame) -> Any:
    parts = ColumnTransformer([("n", StandardScaler(), ["size"]), ("c", encoder, columns)])
    return make_pipeline(parts, Ridge()).fit(given, given["size"] + (given["city"] == "Köln"))


@pytest.mark.parametrize(
    ("encoder", "columns"),
    [
        (OneHotEncoder(handle_unknown="infrequent_if_exist"), ["city"]),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30), ["city", "heating"]),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2, drop="first"), ["city", "code"]),
        (OneHotEncoder(handle_unknown="ignore", max_categories=2), ["code"]),
    ],
    ids=["without rare ones", "rare and missing texts", "a dropped one", "rare numbers"],
)
def test_rare_and_unknown_categories_are_grouped_as_by_scikit_learn(encoder: Any, columns: list[str]) -> None:
    given, fresh = rows(), rows(1, ("Köln", "Ulm", "Bonn", "Århus", "Łódź")).assign(code=np.arange(ROWS) % 50)
    assert fuzz(fitted(encoder, columns, given), given, fresh, live=True).words == RIGHT


def test_a_column_of_categories_with_missing_values_needs_no_handling_of_unknown_ones() -> None:
    given = rows().astype({"heating": "category"})
    assert fuzz(fitted(OneHotEncoder(), ["heating"], given), given, given, live=True).words == RIGHT


def refused(model: Any, sample: pd.DataFrame) -> str:
    found = fuzz(model, sample, sample, live=True)
    assert found.outcome == "refused"
    return found.words


def test_numbers_given_as_text_are_named_with_their_step_and_column() -> None:
    given = rows()
    parts = ColumnTransformer([("n", make_pipeline(SimpleImputer(), StandardScaler()), [0, 3])])
    model = make_pipeline(parts, Ridge()).fit(given, given["size"])
    words = refused(model, given.assign(code=given["code"].astype(str)))
    assert "step 'columntransformer' > step 'n' > step 'simpleimputer' (SimpleImputer) takes numbers" in words
    assert "column 'code' of the sample holds text such as" in words
    assert "Remedy: pass it as numbers, sample['code'].astype(float)" in words


def test_a_date_is_refused_by_name_with_what_to_do() -> None:
    given = pd.DataFrame({"listed": pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")})
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(given.astype("int64"), np.arange(ROWS))
    words = refused(model, given)
    assert "step 'standardscaler' (StandardScaler) takes numbers, and column 'listed'" in words
    assert words.endswith("turn the date into numbers before the pipeline, such as days since a day, and fit again")


def test_an_error_of_the_runtime_names_the_columns_of_its_step_and_ends_with_a_whole_word() -> None:
    given = rows()
    model = fitted(OneHotEncoder(), ["city", "heating"], given)
    sample = read_sample({name: given[name].to_numpy() for name in given}, named=True)
    said = RuntimeError("while running OneHotEncoder node. Name:'OneHotEncoder1' " + "Status Message: Unknown " * 12)
    words = remedy(model, said, sample)
    assert words.startswith("step 'columntransformer' > step 'c' (OneHotEncoder) of 'city', 'heating': RuntimeError")
    assert " ...: " not in words
    assert "Unknow." not in words
    assert words.endswith("Remedy: fit it with handle_unknown='ignore' or 'infrequent_if_exist'")
    assert at_a_word("one two three", 9) == "one"


NOTES = np.array(["Ölgeruch, Überschwemmung!", "Straße naß", "Heizung kalt; naïve-café", "Rohr x² 日本語", "É a Łódź"])


def notes(seed: int) -> Any:
    return [" ".join(each) for each in np.random.default_rng(seed).choice(NOTES, (120, 3))]


def of_notes(vectorizer: Any) -> str:
    given = notes(0)
    model = make_pipeline(vectorizer, Ridge()).fit(given, np.char.count(given, "Straße"))
    return fuzz(model, pd.Series(given, name="note"), pd.Series(notes(1), name="note"), live=True).words


def test_words_with_letters_of_any_language_are_found_as_by_scikit_learns_default() -> None:
    assert of_notes(TfidfVectorizer()) == RIGHT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"analyzer": "char_wb"}, "set analyzer='char', which has"),
        ({"strip_accents": "unicode"}, "leave strip_accents out"),
        ({"tokenizer": str.split, "token_pattern": None}, "leave the function out"),
        ({"stop_words": ["kalt"], "ngram_range": (1, 2)}, "leave stop_words out"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_vectorizer_that_onnx_cannot_express_is_refused_with_what_to_do(options: dict[str, Any], words: str) -> None:
    said = of_notes(CountVectorizer(**options))
    assert said.startswith("estimator_unsupported: step 'countvectorizer' (CountVectorizer): ")
    assert words in said
