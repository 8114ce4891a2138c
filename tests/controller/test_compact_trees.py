"""Ensembles rewritten into the compact operator answer as before: the same labels, the same probabilities."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from controller.convert.trees import MIN_NODES, compact_trees

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 8)).astype(np.float32)
TWO = (X[:, 0] + X[:, 1] * RNG.normal(size=3000) > 0).astype(int)
MANY = np.digitize(X[:, 0] + RNG.normal(size=3000) / 4, [-0.5, 0.5])
NAMES = np.array(["calm", "odd", "wild"])
REAL = X[:, 0] * 2 + X[:, 1]
UNSEEN = RNG.normal(size=(2000, 8)).astype(np.float32)


def as_onnx(estimator: Any, kind: Any = FloatTensorType) -> onnx.ModelProto:
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    types, targets = [("X", kind([None, 8]))], {"": 18, "ai.onnx.ml": 3}
    return convert_sklearn(estimator, name="model", initial_types=types, target_opset=targets, options=options)


def answers(model: onnx.ModelProto, rows: Any) -> list[Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answered: list[Any] = session.run(None, {session.get_inputs()[0].name: rows})
    return answered


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    ("estimator", "labels"),
    [
        (RandomForestClassifier(20, random_state=0), TWO),
        (RandomForestClassifier(20, random_state=0), NAMES[TWO]),
        (RandomForestClassifier(20, random_state=0), TWO + 4),
        (ExtraTreesClassifier(10, random_state=0), TWO),
        (HistGradientBoostingClassifier(random_state=0), TWO),
        (HistGradientBoostingClassifier(random_state=0), NAMES[MANY]),
        (GradientBoostingClassifier(n_estimators=100, max_depth=4, random_state=0), TWO),
        (GradientBoostingClassifier(n_estimators=60, max_depth=4, random_state=0), MANY),
        (RandomForestRegressor(10, random_state=0), REAL),
        (GradientBoostingRegressor(n_estimators=120, max_depth=4, random_state=0), REAL),
        (DecisionTreeRegressor(random_state=0), REAL),
        (IsolationForest(n_estimators=50, random_state=0), None),
        (make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)), TWO),
    ],
    ids=lambda given: type(given).__name__,
)
def test_an_ensemble_gives_the_same_answers_in_half_the_bytes_or_less(estimator: Any, labels: Any) -> None:
    old = as_onnx(estimator.fit(X, labels))
    compact = compact_trees(old)
    assert "TreeEnsemble" in operators(compact)
    assert compact.ByteSize() < 0.65 * old.ByteSize()
    for before, after in zip(answers(old, UNSEEN), answers(compact, UNSEEN), strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        if before.dtype == np.float32:
            np.testing.assert_allclose(after, before, rtol=0, atol=3e-7)
        else:
            assert (before == after).all()


def test_missing_values_follow_the_branch_of_the_training() -> None:
    holes = X.copy()
    holes[RNG.random(X.shape) < 0.2] = np.nan
    old = as_onnx(HistGradientBoostingClassifier(random_state=0).fit(holes, TWO))
    compact = compact_trees(old)
    assert "TreeEnsemble" in operators(compact)
    for before, after in zip(answers(old, holes), answers(compact, holes), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=3e-7)


def test_thresholds_in_float64_stay_in_float64() -> None:
    old = as_onnx(RandomForestClassifier(20, random_state=0).fit(X, TWO), DoubleTensorType)
    compact = compact_trees(old)
    assert "TreeEnsemble" in operators(compact)
    near = UNSEEN.astype(np.float64) + 1e-9
    for before, after in zip(answers(old, near), answers(compact, near), strict=True):
        assert (before == after).all()


@pytest.mark.parametrize(
    ("estimator", "labels"),
    [
        (RandomForestClassifier(60, max_depth=5, random_state=0), MANY),
        (BaggingClassifier(DecisionTreeClassifier(max_depth=5), n_estimators=60, random_state=0), MANY),
    ],
    ids=["a_leaf_that_votes_for_several_classes", "several_ensembles_of_which_none_can_be_said"],
)
def test_an_ensemble_that_cannot_be_expressed_is_unchanged(estimator: Any, labels: Any) -> None:
    old = as_onnx(estimator.fit(X, labels))
    assert compact_trees(old) is old


def test_a_small_ensemble_is_unchanged() -> None:
    old = as_onnx(RandomForestClassifier(3, max_depth=4, random_state=0).fit(X, TWO))
    assert sum(len(given.ints) for given in old.graph.node[0].attribute if given.name == "nodes_treeids") < MIN_NODES
    assert compact_trees(old) is old
