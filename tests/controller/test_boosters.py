"""Models of XGBoost and LightGBM are sent as their own text, alone and in pipelines, and answer as their
library does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from contract.answers.recorded import decode_recorded
from contract.booster import BoosterFile
from contract.errors import BadInput, Code
from controller.convert.estimator import load_estimator
from controller.convert.judge import judge_conversion
from controller.convert.own import boosted
from controller.convert.precision import Judged, asks
from controller.convert.runs import open_session
from edgeward.encode import encode_model, encode_rows
from edgeward.recording import with_answers
from tests.controller.judged import passes

xgboost = pytest.importorskip("xgboost", reason="no XGBoost here: pip install 'edgeward[boosters]'")
lightgbm = pytest.importorskip("lightgbm", reason="no LightGBM here: pip install 'edgeward[boosters]'")

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(300, 4)), 2)
HOLED = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
FRESH = np.round(RNG.normal(size=(500, 4)), 2)
BINARY = (X[:, 0] > 0).astype(int)
NAMES = np.array(["dry", "rain", "snow"])[BINARY + (X[:, 2] > 0)]
NUMBERS = X @ np.array([1.0, 2.0, 3.0, 4.0])


def xgb(kind: str, **options: Any) -> Any:
    return getattr(xgboost, f"XGB{kind}")(n_estimators=10, n_jobs=1, **options)


def lgbm(kind: str, **options: Any) -> Any:
    return getattr(lightgbm, f"LGBM{kind}")(n_estimators=10, n_jobs=1, verbose=-1, **options)


def pushed(model: Any, rows: Any, *, live: bool) -> Judged:
    """Returns a push as the client makes it, and the controller's conversion of it."""
    encoded = encode_rows(rows)
    raw = with_answers(model, rows, encoded, waived=False) if live else encoded
    estimator = load_estimator(encode_model(model)[1], ())
    return judge_conversion(estimator, *decode_recorded(raw), budget_s=60.0)


CASES: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "XGBoost, two classes": (lambda: xgb("Classifier"), HOLED, BINARY),
    "XGBoost, three classes": (lambda: xgb("Classifier"), X, np.unique(NAMES, return_inverse=True)[1]),
    "XGBoost, numbers": (lambda: xgb("Regressor"), HOLED, NUMBERS),
    "XGBoost, two numbers": (lambda: xgb("Regressor"), X, np.stack([NUMBERS, -NUMBERS], axis=1)),
    "XGBoost, counts": (lambda: xgb("Regressor", objective="count:poisson"), X, BINARY),
    "XGBoost behind a scaler": (lambda: make_pipeline(StandardScaler(), xgb("Classifier")), X, BINARY),
    "LightGBM, two classes": (lambda: lgbm("Classifier"), HOLED, BINARY),
    "LightGBM, three classes with names": (lambda: lgbm("Classifier"), X, NAMES),
    "LightGBM, numbers": (lambda: lgbm("Regressor"), HOLED, NUMBERS),
    "LightGBM, counts": (lambda: lgbm("Regressor", objective="poisson"), X, BINARY),
    "LightGBM behind a scaler": (lambda: make_pipeline(StandardScaler(), lgbm("Classifier")), X, NAMES),
}


@pytest.mark.parametrize("name", CASES)
def test_boosted_trees_answer_fresh_rows_as_their_library_does(name: str) -> None:
    make, rows, targets = CASES[name]
    model = make().fit(rows, targets)
    found = pushed(model, rows, live=True)
    assert passes(found)
    assert found.parity.witness is not None
    assert found.parity.witness.differing == 0
    ask, _ = asks(open_session(found.model), found.real)
    last = list(ask(replace(found.rows, frame=FRESH)).values())[-1]
    want = model.predict_proba(FRESH) if hasattr(model, "predict_proba") else model.predict(FRESH)
    np.testing.assert_allclose(last.reshape(want.shape), want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_boosted_trees_from_a_file_are_judged_by_the_answers_of_the_read_model() -> None:
    assert passes(pushed(make_pipeline(StandardScaler(), lgbm("Classifier")).fit(X, NAMES), X, live=False))


@pytest.mark.parametrize(
    ("make", "targets", "words"),
    [
        (lambda: xgb("Regressor", booster="dart"), NUMBERS, "dart"),
        (lambda: lgbm("Regressor", boosting_type="rf", subsample_freq=1, subsample=0.5), NUMBERS, "rf"),
        (lambda: lgbm("Regressor", linear_tree=True), NUMBERS, "linear"),
        (lambda: lgbm("Classifier", zero_as_missing=True), BINARY, "zero_as_missing"),
    ],
    ids=["dart", "random forest", "linear leaves", "zero is missing"],
)
def test_unsupported_boosters_are_refused_by_name_with_a_remedy(make: Any, targets: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        load_estimator(encode_model(make().fit(X, targets))[1], ())
    assert caught.value.code == Code.ESTIMATOR_UNSUPPORTED
    assert "Remedy: " in caught.value.detail


def test_categories_of_boosted_trees_are_refused_by_name() -> None:
    rows = np.column_stack([RNG.integers(0, 5, 300), X[:, 0]])
    model = lgbm("Classifier", min_data_per_group=1).fit(rows, rows[:, 0] % 2 == 0, categorical_feature=[0])
    with pytest.raises(BadInput, match="sets of categories"):
        load_estimator(encode_model(model)[1], ())


def test_a_bare_booster_is_refused_with_what_to_push_instead() -> None:
    with pytest.raises(BadInput, match="LGBMClassifier or LGBMRegressor"):
        encode_model(lgbm("Classifier").fit(X, BINARY).booster_)


@pytest.mark.parametrize("text", ["{}", "[1, 2", '{"learner": {"gradient_booster": 7}}', "x" * 1000])
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_text_that_is_not_a_model_is_refused(library: str, text: str) -> None:
    raw = skops.io.dumps(BoosterFile(library, text, np.array([0, 1])))
    with pytest.raises(BadInput) as caught:
        load_estimator(raw, ())
    assert caught.value.code == Code.ESTIMATOR_UNSUPPORTED


def test_moved_thresholds_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = boosted._attributes

    def faulty(trees: Any, kind: Any) -> dict[str, Any]:
        made = real(trees, kind)
        return made | {"nodes_values": np.asarray(made["nodes_values"]) + np.asarray(0.3, dtype=kind)}

    model = xgb("Classifier").fit(HOLED, BINARY)
    assert passes(pushed(model, HOLED, live=True))
    monkeypatch.setattr(boosted, "_attributes", faulty)
    assert not passes(pushed(model, HOLED, live=True))
