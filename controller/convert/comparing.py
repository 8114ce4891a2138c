"""Estimators whose answer jumps where a number passes another one, and samples whose numbers float32 cannot hold.

Decides which estimators compare in float64: histogram gradient boosting, bins, categories that are numbers. For these,
a reading that float32 rounds onto a threshold falls on its other side. scikit-learn's other trees round rows to float32
themselves, so they need nothing. Refuses to know ONNX.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from contract.answers.cells import is_exact_in_float32
from controller.convert.sample_frame import SampleFrame

_COMPARING = frozenset({
    "Binarizer", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "IsotonicRegression",
    "KBinsDiscretizer", "QuantileTransformer",
})  # fmt: skip
"""Names of estimators that compare in float64. The others that do are found by their fitted attributes."""
_NEAREST = ("KNeighbors", "RadiusNeighbors", "KNNImputer")
"""The beginnings of names of estimators that compare distances, which float32 rounds whatever the rows are."""


def compares_distances(estimator: Any) -> bool:
    """Returns whether a part of an estimator answers by which rows are nearest."""
    return any(type(part).__name__.startswith(_NEAREST) for part in parts_of(estimator))


def compares_in_float64(estimator: Any) -> bool:
    """Returns whether a part of an estimator compares numbers in float64."""
    return any(type(part).__name__ in _COMPARING or _by_attributes(part) for part in parts_of(estimator))


def _by_attributes(part: Any) -> bool:
    if any(getattr(categories, "dtype", np.dtype(object)).kind == "f" for categories in _categories(part)):
        return True
    boosted = getattr(part, "boosted", None)  # of XGBoost, which rounds, or of LightGBM, which does not
    steps = type(part).__name__ == "SplineTransformer" and part.degree == 0
    return steps or (boosted is not None and not boosted.rounds)


def _categories(part: Any) -> list[Any]:
    found = getattr(part, "categories_", None)
    return found if isinstance(found, list) else []


def parts_of(estimator: Any) -> Iterator[Any]:
    """Yields an estimator and every estimator in it, also those of ensembles and of calibrations, each once."""
    waiting, seen = [estimator], set[int]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, (list, tuple)) or (isinstance(part, np.ndarray) and part.dtype == object):
            waiting.extend(part)
        elif id(part) not in seen and _may_hold_parts(part):
            seen.add(id(part))
            yield part
            waiting.extend(vars(part).values())


def _may_hold_parts(part: Any) -> bool:
    known = hasattr(part, "get_params") or type(part).__module__.startswith("sklearn.")
    return known and hasattr(part, "__dict__") and not isinstance(part, type)


def sample_is_exact(rows: SampleFrame) -> bool:
    """Returns whether float32 holds every number of the sample: readings such as 0.5 and -3, not readings of 0.1."""
    frame = rows.frame if isinstance(rows.frame, pd.DataFrame) else pd.DataFrame(rows.frame)
    numbers = (frame[name].to_numpy() for name in frame if pd.api.types.is_numeric_dtype(frame[name]))
    return all(is_exact_in_float32(column) for column in numbers)
