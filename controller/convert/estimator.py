"""Estimators as they arrive: skops bytes in, a fitted scikit-learn estimator out, or a refusal that names the culprit.

Decides which types may be built and which estimators convert wrongly without notice. Never unpickles.
"""

from collections.abc import Iterator
from typing import Any

import skops.io

from contract.errors import BadInput, Code

TRUSTED_TYPES = (
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.linear_model._sgd_fast.Hinge",
    "sklearn.linear_model._sgd_fast.Log",
    "sklearn.linear_model._sgd_fast.SquaredLoss",
    "sklearn.metrics._dist_metrics.EuclideanDistance",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "skl2onnx.sklapi.cast_transformer.CastTransformer",
)
"""scikit-learn's own compiled types, which skops reports as unknown; plain data inside."""

_WRONG = {
    "TunedThresholdClassifierCV": "its threshold is lost in ONNX (20 % of labels differ): set it in your application",
    "FixedThresholdClassifier": "it has no ONNX form: convert its inner estimator and set the threshold yourself",
    "RFE": "as a predictor it converts to its selection only: fit a pipeline of SelectFromModel and the estimator",
    "RFECV": "as a predictor it converts to its selection only: fit a pipeline of SelectFromModel and the estimator",
}
_DEFAULT_TOKENS = r"(?u)\b\w\w+\b"


def load_estimator(raw: bytes, trusted: tuple[str, ...]) -> Any:
    """The estimator; BadInput `estimator_untrusted` names unknown types, `request_invalid` says it is no skops."""
    allowed = set(TRUSTED_TYPES) | set(trusted)
    try:
        unknown = [name for name in skops.io.get_untrusted_types(data=raw) if name not in allowed]
        if not unknown:
            return skops.io.loads(raw, trusted=sorted(allowed & set(skops.io.get_untrusted_types(data=raw))))
    except Exception as error:  # zip, JSON and skops' own errors: hostile bytes raise any of them
        raise BadInput(Code.REQUEST_INVALID, f"not a skops file: {type(error).__name__}: {error}"[:300]) from None
    names = ", ".join(sorted(unknown))
    raise BadInput(
        Code.ESTIMATOR_UNTRUSTED,
        f"unknown types {names}: an operator can add them to convert.trusted_types if their code is known to be safe",
    )


def walk(estimator: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path of steps, estimator) for the estimator and everything fitted inside it."""
    yield path or "estimator", estimator
    for name, inner in _inner(estimator):
        yield from walk(inner, f"{path} > {name}" if path else name)


def _inner(estimator: Any) -> Iterator[tuple[str, Any]]:
    for attribute in ("steps", "transformers_", "transformer_list"):
        for entry in getattr(estimator, attribute, None) or ():
            if hasattr(entry[1], "get_params"):
                yield f"step '{entry[0]}'", entry[1]
    for attribute in ("best_estimator_", "estimator_"):
        if hasattr(getattr(estimator, attribute, None), "get_params"):
            yield attribute, getattr(estimator, attribute)


def refuse_wrong(estimator: Any) -> None:
    """BadInput `estimator_unsupported` for what would convert but answer wrongly."""
    for path, part in walk(estimator):
        name = type(part).__name__
        if name in _WRONG:
            raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{path} ({name}): {_WRONG[name]}")
        if _splits_words_by_default(part):
            raise BadInput(
                Code.ESTIMATOR_UNSUPPORTED,
                f"{path} ({name}): the default token pattern splits words differently in ONNX; "
                "set token_pattern='[a-zA-Z0-9_]+' and fit again",
            )


def _splits_words_by_default(part: Any) -> bool:
    vectorizer = type(part).__name__ in ("TfidfVectorizer", "CountVectorizer")
    return vectorizer and (part.analyzer, part.token_pattern) == ("word", _DEFAULT_TOKENS)


def addresses_columns(estimator: Any) -> bool:
    """Whether some part selects columns by name, so that ONNX needs one input per column."""
    return any(type(part).__name__ == "ColumnTransformer" for _, part in walk(estimator))
