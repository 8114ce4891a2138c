"""Edgeward's own converters: each answers new rows as the estimator does, and faults are caught."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import Birch, BisectingKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import FastICA, SparsePCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import RFE
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.impute import IterativeImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import Nystroem, PolynomialCountSketch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.manifold import Isomap
from sklearn.model_selection import FixedThresholdClassifier, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, RegressorChain
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from controller.convert.own import votes
from tests.controller.fuzzed import fuzz
from tests.controller.judged import judged, passes

RNG = np.random.default_rng(0)
X = np.round(np.abs(RNG.normal(3, 1, (200, 4))), 2)
HOLED = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
CLASSES = (X[:, 0] > 3).astype(int) + (X[:, 1] > 3.5)
BINARY = np.array(["no", "yes"])[(X[:, 0] > 3).astype(int)]
NUMBERS = X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * RNG.normal(size=200)
PAIRS = np.stack([NUMBERS, 2 * NUMBERS + X[:, 1]], axis=1)
SEEN = 120


def forest() -> Any:
    return RandomForestClassifier(3, random_state=0)


def forest_of_numbers() -> Any:
    return RandomForestRegressor(3, random_state=0)


CASES: dict[str, tuple[Any, Any, Any]] = {
    "constant": (DummyClassifier(strategy="most_frequent"), X, BINARY),
    "a threshold that was tuned": (
        TunedThresholdClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())), X, BINARY,
    ),
    "a threshold of the other class": (
        FixedThresholdClassifier(LogisticRegression(), threshold=0.2, pos_label="no"), X, BINARY,
    ),
    "a random search": (
        RandomizedSearchCV(
            make_pipeline(StandardScaler(), forest()), {"randomforestclassifier__max_depth": [5]}, n_iter=1
        ), X, CLASSES,
    ),
    "hard votes": (VotingClassifier([("a", LogisticRegression()), ("b", forest()), ("c", SVC())]), X, BINARY),
    "one against the rest": (OneVsRestClassifier(LogisticRegression()), X, CLASSES),
    "codes": (OutputCodeClassifier(forest(), random_state=0), X, CLASSES),
    "recursive selection within": (make_pipeline(RFE(LogisticRegression(), n_features_to_select=2), SVC()), X, CLASSES),
    "recursive selection that predicts": (make_pipeline(StandardScaler(), RFE(LogisticRegression())), X, CLASSES),
    "transformed targets": (TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1), X, NUMBERS + 9),
    "targets by quantiles": (
        TransformedTargetRegressor(
            Ridge(), transformer=QuantileTransformer(n_quantiles=50, output_distribution="normal")
        ), X, NUMBERS,
    ),
    "targets by powers": (TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()), X, NUMBERS),
    "a function of numpy": (make_pipeline(FunctionTransformer(np.log1p), Ridge()), X, NUMBERS),
    "isotonic": (IsotonicRegression(out_of_bounds="clip"), X[:, :1], NUMBERS),
    "splines": (make_pipeline(SplineTransformer(extrapolation="linear"), Ridge()), X, NUMBERS),
    "periodic splines": (
        make_pipeline(SplineTransformer(extrapolation="periodic", include_bias=False), Ridge()), X, NUMBERS,
    ),
    "imputed by regressions": (make_pipeline(IterativeImputer(), forest()), HOLED, CLASSES),
    "marks of what is missing": (
        make_pipeline(make_union(SimpleImputer(), MissingIndicator(features="all")), LogisticRegression()),
        HOLED, CLASSES,
    ),
    "bins": (make_pipeline(KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), Ridge()), X, NUMBERS),
    "one-hot numbers": (
        make_pipeline(OneHotEncoder(drop="first", handle_unknown="ignore"), Ridge()), np.round(X), NUMBERS,
    ),
    "means of the target": (make_pipeline(TargetEncoder(target_type="continuous"), Ridge()), np.round(X), NUMBERS),
    "independent components": (make_pipeline(FastICA(random_state=0), Ridge()), X, NUMBERS),
    "sparse components": (SparsePCA(2, random_state=0), X, NUMBERS),
    "canonical correlation": (CCA(), X, PAIRS),
    "a kernel": (KernelRidge(kernel="rbf"), X, PAIRS),
    "part of a kernel": (
        make_pipeline(Nystroem(n_components=20, random_state=0), SGDClassifier(random_state=0)), X, CLASSES,
    ),
    "a sketch of a polynomial": (make_pipeline(PolynomialCountSketch(random_state=0), Ridge()), X, NUMBERS),
    "a Gaussian process": (
        GaussianProcessClassifier(ConstantKernel(2.0) * Matern(nu=1.5) + WhiteKernel(0.1)), X, BINARY,
    ),
    "nearest centroid": (NearestCentroid(), X, CLASSES),
    "clusters in clusters": (BisectingKMeans(4, random_state=0), X, CLASSES),
    "a tree of clusters": (Birch(n_clusters=3), X, CLASSES),
    "within a radius": (RadiusNeighborsClassifier(1.5, weights="distance", outlier_label="most_frequent"), X, BINARY),
    "nearest, by distance": (
        make_pipeline(StandardScaler(), KNeighborsClassifier(4, weights="distance")), X, BINARY,
    ),
    "numbers of the nearest, by distance": (KNeighborsRegressor(3, weights="distance", p=1), np.sqrt(X), PAIRS),
    "numbers within a radius": (RadiusNeighborsRegressor(1.5), X, PAIRS),
    "spread labels": (LabelSpreading(), X, CLASSES),
    "paths over neighbours": (Isomap(n_components=2), X, CLASSES),
    "a chain of regressors": (
        make_pipeline(StandardScaler(), RegressorChain(forest_of_numbers(), order=[1, 0])), X, PAIRS,
    ),
    "a chain of classifiers": (ClassifierChain(LogisticRegression(), order=[1, 0]), X, PAIRS > 0),
    "a chain of probabilities": (ClassifierChain(forest(), chain_method="predict_proba"), X, PAIRS > 0),
    "leaves of trees": (make_pipeline(RandomTreesEmbedding(3, random_state=0), LogisticRegression()), X, CLASSES),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # warnings of fits that do not converge; the fitted model is converted
@pytest.mark.parametrize("name", CASES)
def test_an_own_converter_answers_fresh_rows_as_the_estimator_does(name: str) -> None:
    model, rows, targets = CASES[name]
    found = fuzz(model.fit(rows[:SEEN], targets[:SEEN]), rows[:SEEN], rows[SEEN:], live=True)
    assert found.outcome == "right", found.words


@pytest.mark.parametrize("live", [True, False], ids=["a live estimator", "a file"])
def test_several_labels_beside_each_other_are_refused_with_what_to_take_instead(*, live: bool) -> None:
    model = MultiOutputClassifier(LogisticRegression()).fit(X[:SEEN], PAIRS[:SEEN] > 0)
    found = fuzz(model, X[:SEEN], X[SEEN:], live=live)
    assert found.outcome == "refused"
    assert "push each" in found.words


def test_a_step_with_random_answers_or_without_selected_columns_is_refused_by_name() -> None:
    for model in (DummyClassifier(strategy="uniform"), make_pipeline(MissingIndicator())):
        found = fuzz(model.fit(X[:SEEN], CLASSES[:SEEN]), X[:SEEN], X[SEEN:], live=True)
        assert found.outcome in ("refused", "parity")
        assert "Remedy: " in found.words


def lost_threshold(given: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def convert(graph: Any, model: Any, inputs: list[Any]) -> list[str]:
        at = graph.first_of_most(inputs[0].full_name)
        return [graph.labels(at, model.classes_), given(graph, model, inputs)[1]]

    return convert


def swapped_class(given: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def convert(graph: Any, model: Any, inputs: list[Any]) -> list[str]:
        made = given(graph, model, inputs)
        return [graph.labels(graph.first_of_least(made[1]), model.classes_), made[1]]

    return convert


@pytest.mark.parametrize("fault", [lost_threshold, swapped_class])
def test_a_planted_fault_of_a_threshold_is_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(X, BINARY)
    assert passes(judged(model, X))
    _plant(monkeypatch, FixedThresholdClassifier, fault(votes.above_threshold))
    assert not passes(judged(model, X))


def _plant(monkeypatch: pytest.MonkeyPatch, kind: type, convert: Any) -> None:
    from skl2onnx.common import _registration

    from controller.convert.own.registered import _write

    operator = f"Edgeward{kind.__name__}"
    options = _registration._converter_pool[operator]._options
    faulty = _registration.RegisteredConverter(lambda *given: _write(*given, convert), options)
    monkeypatch.setitem(_registration._converter_pool, operator, faulty)
