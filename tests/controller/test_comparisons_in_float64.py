"""Readings that float32 cannot hold, at thresholds that are compared in float64: the same side as in scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import BaggingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from contract.answers.perturbed_rows import NEXT_NUMBER, perturb
from contract.tensors import Array
from controller.convert import comparing
from controller.convert.comparing import compares_in_float64
from tests.controller.fuzzed import fuzz
from tests.controller.judged import answers, judged, passes

STEPS = np.unique(np.random.default_rng(0).integers(0, 3000, 400)).astype(np.float64)
TENTHS, HALVES = STEPS[:, None] * 0.1, STEPS[:, None] * 0.5
ABOVE = np.nextafter(TENTHS, np.inf)
"""The same readings, as another order of computing gives them. float32 rounds both to the same number."""
TARGETS = np.sin(STEPS / 100)


def boosting() -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=4)


def test_boosting_answers_readings_just_above_its_thresholds_as_the_estimator_does() -> None:
    """Of these rows 45 % differed in float32, and the gate did not see it: no row of the sample was one of them."""
    found = fuzz(boosting().fit(TENTHS, TARGETS), TENTHS, ABOVE, live=True)
    assert found.outcome == "right", found.words


def test_readings_that_float32_holds_keep_the_small_form_and_the_side_of_each_threshold() -> None:
    steps = np.arange(len(STEPS), dtype=np.float32)
    rows = (np.float32(1.0) + steps * np.finfo(np.float32).eps)[:, None]  # neighbours: no float32 lies between two
    model = boosting().fit(rows, TARGETS)
    found = judged(model, rows)
    assert passes(found)
    assert found.real == "float32"
    np.testing.assert_allclose(answers(found, rows)["variable"].ravel(), model.predict(rows), atol=1e-5)


@pytest.mark.parametrize("rows", [TENTHS, HALVES], ids=["readings of 0.1", "readings of 0.5"])
def test_rows_at_the_next_number_are_tried_only_where_float32_cannot_hold_the_readings(rows: Array) -> None:
    assert (NEXT_NUMBER in perturb(rows).kinds) == (rows is TENTHS)


def test_rows_at_thresholds_find_a_comparison_in_float64_of_an_estimator_that_is_not_known_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparing, "_COMPARING", frozenset())
    found = judged(boosting().fit(TENTHS, TARGETS), TENTHS)
    assert passes(found)
    assert found.real == "float64"


@pytest.mark.parametrize(
    ("model", "compares"),
    [
        (boosting(), True),
        (make_pipeline(KBinsDiscretizer(4), Ridge()), True),
        (BaggingRegressor(boosting(), n_estimators=2), True),
        (make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()), True),
        (RandomForestRegressor(2), False),
        (Ridge(), False),
    ],
    ids=["boosting", "bins", "boosting in an ensemble", "categories that are reals", "trees in float32", "a line"],
)
def test_estimators_that_compare_in_float64_are_known_inside_any_nesting(model: Any, compares: bool) -> None:
    assert compares_in_float64(model.fit(TENTHS[:60], TARGETS[:60])) == compares
