"""Reads the texts in which XGBoost and LightGBM keep their trees: JSON, and LightGBM's model text.

Decides which models are covered: any other is refused by name, because with an overlooked part the model would
answer wrongly. Sources: XGBoost's JSON schema (doc/model.schema), LightGBM's tree.cpp and gbdt_model_text.cpp.
"""

import copy
import json
from typing import Any

import numpy as np

from contract.booster import BoosterFile
from contract.errors import BadInput, Code
from contract.tensors import Array
from controller.convert.own.boosted import Boosted, BoostedClassifier, BoostedRegressor, BoostedTree

_XGBOOST_LINKS = {
    "reg:squarederror": "identity", "reg:absoluteerror": "identity", "reg:pseudohubererror": "identity",
    "reg:squaredlogerror": "identity", "reg:quantileerror": "identity", "reg:logistic": "logistic",
    "binary:logistic": "logistic", "multi:softprob": "softmax", "multi:softmax": "softmax",
    "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
}  # fmt: skip
_LIGHTGBM_LINKS = {
    "regression": "identity", "regression_l1": "identity", "huber": "identity", "fair": "identity",
    "quantile": "identity", "mape": "identity", "binary": "logistic", "cross_entropy": "logistic",
    "multiclass": "softmax", "poisson": "exp", "gamma": "exp", "tweedie": "exp",
}  # fmt: skip
_CATEGORICAL, _DEFAULT_LEFT, _ZERO, _NAN = 1, 2, 4, 8
"""Bits of LightGBM's `decision_type`."""


def with_boosters(estimator: Any) -> Any:
    """Returns an estimator in which every booster's file is replaced by an estimator. BadInput `estimator_unsupported`
    by name.
    """
    if isinstance(estimator, BoosterFile):
        return _read(estimator)
    if isinstance(estimator, (list, tuple)) and not hasattr(estimator, "_fields"):
        parts = [with_boosters(part) for part in estimator]
        same = all(part is each for part, each in zip(parts, estimator, strict=True))
        return estimator if same else type(estimator)(parts)
    if not hasattr(estimator, "get_params") or isinstance(estimator, type):
        return estimator
    changed = {name: with_boosters(value) for name, value in vars(estimator).items()}
    changed = {name: value for name, value in changed.items() if value is not vars(estimator)[name]}
    if not changed:
        return estimator
    made = copy.copy(estimator)
    made.__dict__.update(changed)
    return made


def _read(file: BoosterFile) -> Any:
    if not file.document:
        return file  # a parameter that was never fitted
    try:
        found = _of_xgboost(json.loads(file.document)) if file.library == "xgboost" else _of_lightgbm(file.document)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        words = f"the text of {file.library} cannot be read: {type(error).__name__}: {error}"
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, words[:300]) from None
    return BoostedRegressor(found) if file.classes is None else BoostedClassifier(found, np.asarray(file.classes))


def _refuse(library: str, what: str) -> BadInput:
    remedy = "encode categories with OrdinalEncoder in the pipeline, use plain boosted trees, or push an ONNX file"
    return BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{library}: {what} are not converted. Remedy: {remedy}")


def _of_xgboost(document: dict[str, Any]) -> Boosted:
    learner = document["learner"]
    booster, told = learner["gradient_booster"], learner["learner_model_param"]
    objective = learner["objective"]["name"]
    if booster["name"] != "gbtree":
        raise _refuse("XGBoost", f"models of the booster {booster['name']!r:.40}")
    if objective not in _XGBOOST_LINKS:
        raise _refuse("XGBoost", f"models of the objective {objective!r:.40}")
    link, model = _XGBOOST_LINKS[objective], booster["model"]
    columns = max(int(told["num_class"]), int(told.get("num_target", "1")), 1)
    start = np.array([float(part) for part in str(told["base_score"]).strip("[]").split(",")])
    if link in ("logistic", "exp"):
        start = np.log(start) - (np.log1p(-start) if link == "logistic" else 0.0)
    trees = tuple(_xgboost_tree(tree) for tree in model["trees"])
    start = np.broadcast_to(start, (columns,)).astype(np.float64)
    return Boosted(trees, tuple(model["tree_info"]), start, link, True, int(told["num_feature"]))


def _xgboost_tree(tree: dict[str, Any]) -> BoostedTree:
    if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise _refuse("XGBoost", "splits by sets of categories, and leaves of several numbers,")
    left, conditions = np.array(tree["left_children"]), np.array(tree["split_conditions"], dtype=np.float32)
    below = np.nextafter(conditions, np.float32(-np.inf))  # a row goes left below the threshold, not at it
    return BoostedTree(
        feature=np.array(tree["split_indices"], dtype=np.int64),
        threshold=below.astype(np.float64),
        left=left,
        right=np.array(tree["right_children"]),
        missing_left=np.array(tree["default_left"], dtype=bool),
        value=conditions.astype(np.float64),
        leaf=left == -1,
    )


def _of_lightgbm(text: str) -> Boosted:
    head, *parts = text.partition("end of trees")[0].split("\nTree=")
    told = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    objective, *settings = told.get("objective", "").split()
    if objective not in _LIGHTGBM_LINKS or "sqrt" in settings:
        raise _refuse("LightGBM", f"models of the objective {told.get('objective', '')!r:.40}")
    if "average_output" in head.splitlines():
        raise _refuse("LightGBM", "models of boosting_type='rf'")
    if any(entry.startswith("sigmoid:") and float(entry[8:]) != 1.0 for entry in settings):
        raise _refuse("LightGBM", "models with a sigmoid other than 1")
    per_round = int(told["num_tree_per_iteration"])
    trees = tuple(_lightgbm_tree(part) for part in parts)
    targets = tuple(number % per_round for number in range(len(trees)))
    start, columns = np.zeros(per_round), int(told["max_feature_idx"]) + 1
    return Boosted(trees, targets, start, _LIGHTGBM_LINKS[objective], False, columns)


def _lightgbm_tree(part: str) -> BoostedTree:
    told = dict(line.split("=", 1) for line in part.splitlines()[1:] if "=" in line)
    if told.get("is_linear", "0") != "0":
        raise _refuse("LightGBM", "leaves with linear models")
    values = _numbers(told["leaf_value"])
    if len(values) == 1:  # a tree that does not split
        none = np.zeros(1, dtype=np.int64)
        return BoostedTree(none, np.zeros(1), none, none, none.astype(bool), values, np.ones(1, dtype=bool))
    kinds = _numbers(told["decision_type"]).astype(np.int64)
    if (kinds & _CATEGORICAL).any() or (kinds & _ZERO).any():
        raise _refuse("LightGBM", "splits by sets of categories, and zero_as_missing,")
    thresholds, inner = _numbers(told["threshold"]), len(kinds)
    as_missing = np.where(kinds & _NAN, (kinds & _DEFAULT_LEFT) > 0, thresholds >= 0.0)  # else NaN counts as 0
    children = [_numbers(told[side]).astype(np.int64) for side in ("left_child", "right_child")]
    left, right = (np.where(child < 0, inner + ~child, child) for child in children)  # leaves come after the splits
    rest = np.zeros(len(values), dtype=np.int64)
    return BoostedTree(
        feature=np.concatenate([_numbers(told["split_feature"]).astype(np.int64), rest]),
        threshold=np.concatenate([thresholds, rest]),
        left=np.concatenate([left, rest]),
        right=np.concatenate([right, rest]),
        missing_left=np.concatenate([as_missing, rest > 0]),
        value=np.concatenate([np.zeros(inner), values]),
        leaf=np.arange(inner + len(values)) >= inner,
    )


def _numbers(words: str) -> Array:
    return np.array(words.split(), dtype=np.float64)
