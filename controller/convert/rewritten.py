"""Rewrites an estimator into parts that a converter knows, where scikit-learn has a wrapper that only chooses or
delegates.

Decides that a search becomes its best estimator, and a frozen or self-trained estimator the one inside. A selection
by an estimator, at the end of a pipeline, becomes the selected columns and then that estimator. Boosting by
categories becomes a step that turns them into numbers, and then trees. Never changes its argument: parts that hold
a rewritten one are copied.
"""

import copy
from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from contract.tensors import Array
from controller.convert.own.category_sets import by_columns, splits_by_sets

MAX_DEPTH = 16
"""The depth of estimators inside one another; deeper ones stay unchanged, and their converter decides."""
_NO_LAST_STEP = ("transformers_", "transformer_list")
"""Attributes whose estimators transform and never predict."""


class KeptColumns(BaseEstimator):
    """Some columns of a matrix, in their order."""

    def __init__(self, support: Array) -> None:
        self.support = support

    def get_support(self) -> Array:
        """Which columns are kept: bool of shape (columns,)."""
        return self.support


def rewritten(estimator: Any, *, last: bool = True, depth: int = 0) -> Any:
    """Returns an estimator with the same answers. `last`: its prediction is used."""
    if depth > MAX_DEPTH or not hasattr(estimator, "get_params") or isinstance(estimator, type):
        return estimator
    inner = _INNER.get(type(estimator).__name__)
    if inner is not None and hasattr(estimator, inner):
        return rewritten(getattr(estimator, inner), last=last, depth=depth + 1)
    made = copy.copy(estimator)
    for name, value in vars(estimator).items():
        made.__dict__[name] = _rewritten_value(name, value, last, depth + 1)
    rule = _RULES.get(type(estimator).__name__)
    return rule(made, last) if rule is not None else made


def _rewritten_value(name: str, value: Any, last: bool, depth: int) -> Any:
    """The value of an attribute: an estimator, or a list of them or of tuples that hold one."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        ends = [
            last and name not in _NO_LAST_STEP and (name != "steps" or at == len(value) - 1) for at in range(len(value))
        ]
        parts = [_rewritten_value("", each, end, depth) for each, end in zip(value, ends, strict=True)]
        same = all(part is each for part, each in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    return rewritten(value, last=last, depth=depth) if hasattr(value, "get_params") else value


def _selected_first(made: Any, last: bool) -> Any:
    """A recursive selection: its columns, and then its estimator if its prediction is used."""
    kept = KeptColumns(made.get_support())
    return Pipeline([("kept", kept), ("estimator", made.estimator_)]) if last and hasattr(made, "predict") else kept


def _unflattened(made: Any, last: bool) -> Any:
    made.flatten_transform = False  # it affects the transformed probabilities, which are not used
    return made


def _by_columns(made: Any, _: bool) -> Any:
    return by_columns(made) if splits_by_sets(made) else made


_INNER = {
    "FrozenEstimator": "estimator",
    "GridSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "SelfTrainingClassifier": "estimator_",
}
"""The attribute of the estimator that answers, by wrapper."""
_RULES: dict[str, Callable[[Any, bool], Any]] = {
    "HistGradientBoostingClassifier": _by_columns,
    "HistGradientBoostingRegressor": _by_columns,
    "RFE": _selected_first,
    "RFECV": _selected_first,
    "VotingClassifier": _unflattened,
}
