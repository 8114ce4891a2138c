"""SimpleImputer on columns of text, before an encoder: devices send a stand-in for a missing text, which ONNX fills."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from controller.convert.own import imputing
from controller.convert.own.imputing import MISSING_TEXT
from controller.convert.precision import asks
from controller.convert.runs import open_session
from tests.controller.judged import judged, passes

RNG = np.random.default_rng(0)
FILLS = {"most_frequent": None, "constant": "none"}
ENCODERS = (
    OneHotEncoder(handle_unknown="ignore"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
)


def rows(count: int, *others: str) -> pd.DataFrame:
    """Rows with a number and two texts, of which some are missing; `others` are texts that no model was fitted on."""
    texts = {}
    for name, known in (("city", ("oslo", "rome", "bonn")), ("kind", ("new", "old"))):
        texts[name] = RNG.choice([*known, *others], count).astype(object)
        texts[name][RNG.random(count) < 0.2] = None
    return pd.DataFrame({"t": RNG.normal(size=count), **texts})


def pipeline(strategy: str, encoder: Any) -> Any:
    texts = make_pipeline(SimpleImputer(strategy=strategy, fill_value=FILLS[strategy]), encoder)
    columns = ColumnTransformer([("number", StandardScaler(), ["t"]), ("texts", texts, ["city", "kind"])])
    frame = rows(300)
    labels = (frame["t"] > 0) ^ (frame["city"] == "oslo") ^ frame["kind"].isna()
    return make_pipeline(columns, LogisticRegression()).fit(frame, labels.astype(int))


@pytest.mark.parametrize("encoder", ENCODERS, ids=["one-hot", "ordinal"])
@pytest.mark.parametrize("strategy", FILLS)
def test_missing_and_unknown_texts_get_the_answers_of_the_estimator(strategy: str, encoder: Any) -> None:
    model = pipeline(strategy, encoder)
    found = judged(model, rows(150))
    assert passes(found)
    assert found.rows.stand_ins == {"city": MISSING_TEXT, "kind": MISSING_TEXT}
    fresh = rows(400, "nan", "", "none", "Oslo", "zürich")
    ask, _ = asks(open_session(found.model), found.real)
    label, scores = ask(replace(found.rows, frame=fresh)).values()
    np.testing.assert_array_equal(label, model.predict(fresh))
    np.testing.assert_allclose(scores, model.predict_proba(fresh), atol=1e-5)


def test_a_text_that_is_not_filled_as_the_estimator_does_is_not_offered_to_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, real = pipeline("most_frequent", ENCODERS[0]), imputing._filled
    monkeypatch.setattr(imputing, "_filled", lambda graph, column, _: real(graph, column, "rome"))
    found = judged(model, rows(150))
    assert "kind" not in found.rows.stand_ins


def test_a_text_for_missing_ones_is_converted_as_before() -> None:
    frame = pd.DataFrame({"city": np.array(["oslo", "", "rome", "bonn"] * 40, dtype=object), "t": np.arange(160.0)})
    texts = make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), ENCODERS[0])
    columns = ColumnTransformer([("number", StandardScaler(), ["t"]), ("texts", texts, ["city"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.arange(160) % 4 == 0)
    assert passes(judged(model, frame))
