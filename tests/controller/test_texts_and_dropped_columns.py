"""Samples as people have them: a list of texts, and frames with columns that a pipeline drops."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from contract.errors import BadInput
from controller.convert.runs import open_session
from edgeward.encode import encode_rows
from tests.controller.judged import judged, passes

RNG = np.random.default_rng(0)
WORDS = np.array(["wind", "rain", "sun", "ice", "fog"])
TEXTS = pd.Series([" ".join(RNG.choice(WORDS, 4)) for _ in range(100)], name="note")


def inputs_of(found: Any) -> list[tuple[str, str]]:
    return [(entry.name, entry.type) for entry in open_session(found.model).get_inputs()]


@pytest.mark.parametrize("live", [True, False], ids=["live", "from a file"])
@pytest.mark.parametrize(("sample", "name"), [(TEXTS, "note"), (TEXTS.tolist(), "text")], ids=["a Series", "a list"])
def test_a_pipeline_of_texts_accepts_a_list_of_them(sample: Any, name: str, live: bool) -> None:
    model = make_pipeline(TfidfVectorizer(token_pattern="[a-zA-Z0-9_]+"), LogisticRegression())
    found = judged(model.fit(TEXTS, TEXTS.str.contains("rain").astype(int)), sample, live=live)
    assert passes(found)
    assert inputs_of(found) == [(name, "tensor(string)")]


def test_a_list_of_numbers_is_not_a_sample() -> None:
    with pytest.raises(BadInput, match="texts"):
        encode_rows([1.0, 2.0])


@pytest.mark.parametrize("live", [True, False], ids=["live", "from a file"])
def test_a_dropped_column_is_not_required_of_devices(live: bool) -> None:
    frame = pd.DataFrame(
        {
            "warmth": RNG.normal(size=100),
            "when": pd.date_range("2026-01-01", periods=100),
            "site": RNG.choice(["x", "y"], 100),
            "number": np.arange(100),
        }
    )
    columns = ColumnTransformer([("n", StandardScaler(), ["warmth"]), ("s", OneHotEncoder(), ["site"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, (frame["warmth"] > 0).astype(int))
    found = judged(model, frame, live=live)
    assert passes(found)
    assert inputs_of(found) == [("warmth", "tensor(float)"), ("site", "tensor(string)")]
    assert found.rows.columns == ("warmth", "site")
    assert list(found.rows.arrays(found.real)) == ["warmth", "site"]
