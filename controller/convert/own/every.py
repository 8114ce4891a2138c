"""The table of Edgeward's own converters and their estimators.

Decides nothing else. `install` is called before anything is converted.
"""

from typing import Any

from skl2onnx._parse import update_registered_parser
from sklearn import (
    cluster,
    covariance,
    cross_decomposition,
    decomposition,
    dummy,
    feature_selection,
    gaussian_process,
    isotonic,
    kernel_approximation,
    kernel_ridge,
    manifold,
    model_selection,
    multiclass,
    multioutput,
    neighbors,
    neural_network,
    preprocessing,
    semi_supervised,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomTreesEmbedding, VotingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - without it the next import fails
from sklearn.impute import IterativeImputer, MissingIndicator

from controller.convert.own import (
    boosted,
    category_sets,
    centres,
    chains,
    codes,
    curves,
    forests,
    imputing,
    kernels,
    leaves,
    linear_maps,
    neighbours,
    processes,
    selections,
    targets,
    votes,
)
from controller.convert.own.registered import Own, register, register_before, register_operator

BOTH = "label and reals"


def _classes(model: Any) -> int:
    return len(model.classes_)


def _components(model: Any) -> int:
    return len(model.components_)


def _parameter(model: Any) -> int:
    return int(model.n_components)


def _selectors() -> dict[type, Own]:
    kinds = (
        feature_selection.GenericUnivariateSelect, feature_selection.SelectPercentile, feature_selection.SelectKBest,
        feature_selection.SelectFdr, feature_selection.SelectFpr, feature_selection.SelectFwe, feature_selection.RFE,
        feature_selection.RFECV, feature_selection.SequentialFeatureSelector,
    )  # fmt: skip
    return {kind: Own(selections.kept_columns, selections.support_kept) for kind in kinds}


def _transformers() -> dict[type, Own]:
    return {
        decomposition.FactorAnalysis: Own(linear_maps.factors, _components),
        decomposition.FastICA: Own(linear_maps.independent, _components),
        decomposition.SparsePCA: Own(linear_maps.sparse_components, _components),
        decomposition.MiniBatchSparsePCA: Own(linear_maps.sparse_components, _components),
        cross_decomposition.PLSSVD: Own(linear_maps.covariance_scores, _parameter),
        cluster.FeatureAgglomeration: Own(linear_maps.agglomerated, lambda model: int(model.n_clusters_)),
        neural_network.BernoulliRBM: Own(linear_maps.hidden_units, _components),
        kernel_approximation.RBFSampler: Own(linear_maps.fourier_features, _parameter),
        kernel_approximation.SkewedChi2Sampler: Own(linear_maps.skewed_features, _parameter),
        kernel_approximation.AdditiveChi2Sampler: Own(linear_maps.additive_features),
        kernel_approximation.PolynomialCountSketch: Own(linear_maps.polynomial_sketch, _parameter),
        kernel_approximation.Nystroem: Own(kernels.nystroem, _components),
        manifold.Isomap: Own(neighbours.isomap, _parameter),
        neighbors.RadiusNeighborsTransformer: Own(neighbours.distances_within, neighbours.points_kept),
        preprocessing.SplineTransformer: Own(curves.splines, curves.splines_kept),
        preprocessing.KBinsDiscretizer: Own(codes.bins, codes.bins_kept),
        preprocessing.TargetEncoder: Own(codes.target_means, codes.means_kept),
        category_sets.CategorySets: Own(category_sets.category_sets, category_sets.sets_kept),
        IterativeImputer: Own(imputing.iterative, lambda model: int(model.n_features_in_)),
        MissingIndicator: Own(selections.missing_marks, selections.marks_kept, "whole numbers"),
        RandomTreesEmbedding: Own(leaves.embedded, leaves.leaves_kept),
    }


def _predictors() -> dict[type, Own]:
    return {
        boosted.BoostedClassifier: Own(boosted.classes_of_trees, _classes, BOTH),
        boosted.BoostedRegressor: Own(boosted.numbers_of_trees, lambda model: len(model.boosted.start)),
        cluster.AffinityPropagation: Own(centres.nearest_centre, centres.centres_kept, BOTH),
        cluster.MeanShift: Own(centres.nearest_centre, centres.centres_kept, BOTH),
        cluster.Birch: Own(centres.nearest_subcluster, lambda model: len(model.subcluster_centers_), BOTH),
        cluster.BisectingKMeans: Own(centres.bisected, centres.centres_kept, BOTH),
        covariance.EllipticEnvelope: Own(centres.inside_envelope, lambda _: 1, BOTH),
        cross_decomposition.CCA: Own(linear_maps.least_squares, lambda model: len(model.coef_)),
        cross_decomposition.PLSCanonical: Own(linear_maps.least_squares, lambda model: len(model.coef_)),
        dummy.DummyClassifier: Own(selections.constant_class, _classes, BOTH),
        dummy.DummyRegressor: Own(selections.constant_number, lambda model: model.n_outputs_),
        gaussian_process.GaussianProcessClassifier: Own(processes.process_classes, _classes, BOTH),
        isotonic.IsotonicRegression: Own(curves.isotonic, lambda _: 1),
        kernel_ridge.KernelRidge: Own(kernels.kernel_ridge),
        model_selection.FixedThresholdClassifier: Own(votes.above_threshold, _classes, BOTH, votes.parse_threshold),
        model_selection.TunedThresholdClassifierCV: Own(votes.above_threshold, _classes, BOTH, votes.parse_threshold),
        multiclass.OutputCodeClassifier: Own(votes.codes, outputs="label", parser=votes.parse_codes),
        neighbors.NearestCentroid: Own(centres.nearest_centroid, _classes, BOTH),
        neighbors.RadiusNeighborsClassifier: Own(neighbours.votes_within, _classes, BOTH),
        neighbors.RadiusNeighborsRegressor: Own(neighbours.mean_within),
        semi_supervised.LabelPropagation: Own(kernels.spread_labels, _classes, BOTH),
        semi_supervised.LabelSpreading: Own(kernels.spread_labels, _classes, BOTH),
        multioutput.ClassifierChain: Own(
            chains.classifiers, lambda model: len(model.estimators_), parser=chains.parse_classifiers
        ),
        multioutput.RegressorChain: Own(
            chains.regressors, lambda model: len(model.estimators_), parser=chains.parse_regressors
        ),
        TransformedTargetRegressor: Own(targets.transformed_back, parser=targets.parse_transformed),
    }


def install() -> None:
    """Registers every converter. Calling it again changes nothing."""
    for kind, own in {**_selectors(), **_transformers(), **_predictors()}.items():
        register(kind, own)
    register_operator(chains.BESIDE, Own(chains.beside, lambda model: model.width))
    register_operator("EdgewardMajority", Own(votes.majority, lambda model: len(model.estimators_), "label and votes"))
    register_operator("EdgewardSoftVotes", Own(votes.soft_votes, _classes, BOTH))
    update_registered_parser(VotingClassifier, votes.parse_votes)
    for trees in ("DecisionTree", "ExtraTree", "ExtraTrees", "RandomForest"):
        register_before(f"Sklearn{trees}Classifier", forests.takes_forest, forests.forest)
    register_before("SklearnSimpleImputer", imputing.takes_simple, imputing.simple)
    register_before("SklearnOneHotEncoder", lambda model, _: codes.takes_one_hot(model), codes.one_hot)
    register_before("SklearnFunctionTransformer", lambda model, _: targets.takes_function(model), targets.function)
    register_before("SklearnKNeighborsRegressor", neighbours.takes_weighted, neighbours.weighted_mean)
    register_before("SklearnKNeighborsClassifier", neighbours.takes_weighted, neighbours.weighted_votes)
    register_before(
        "SklearnOneVsRestClassifier", lambda model, _: votes.takes_one_against_rest(model), votes.one_against_rest
    )
