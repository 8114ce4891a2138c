"""Estimators as they arrive: skops bytes in, a fitted scikit-learn estimator out, or a refusal that names the type.

Decides which types may be built and which estimators convert wrongly without notice. Never unpickles.
"""

from collections.abc import Iterator
from typing import Any

import skops.io

from contract.errors import BadInput, Code
from controller.convert.sample_frame import SampleFrame

TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "skl2onnx.sklapi.cast_transformer.CastTransformer",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)
"""Types of our libraries that skops reports as unknown: plain data inside."""

TRUSTED_MODULES = (
    "sklearn._loss.",
    "sklearn.calibration.",
    "sklearn.gaussian_process.kernels.",
    "sklearn.linear_model._sgd_fast.",
    "sklearn.metrics._classification.",
    "sklearn.metrics._dist_metrics.",
    "sklearn.metrics._scorer.",
    "sklearn.model_selection._split.",
    "sklearn.neural_network._stochastic_optimizers.",
    "sklearn.utils._metadata_requests.",
)
"""scikit-learn's modules in which every type is plain data: losses, kernels, distances, optimisers, scorers, splits."""

MAX_MISSING_ASKED = 64
"""Columns that are tried one by one."""

_WRONG = {
    "TunedThresholdClassifierCV": "its threshold is lost in ONNX (20 % of labels differ): set it in your application",
    "FixedThresholdClassifier": "it has no ONNX form: convert its inner estimator and set the threshold yourself",
    "RFE": "as a predictor it converts to its selection only: fit a pipeline of SelectFromModel and the estimator",
    "RFECV": "as a predictor it converts to its selection only: fit a pipeline of SelectFromModel and the estimator",
}
_DEFAULT_TOKENS = r"(?u)\b\w\w+\b"


def load_estimator(raw: bytes, trusted: tuple[str, ...]) -> Any:
    """The estimator; BadInput `estimator_untrusted` names unknown types, `request_invalid` says it is no skops."""
    try:
        reported = skops.io.get_untrusted_types(data=raw)
        unknown = sorted(name for name in reported if not _is_trusted(name, trusted))
        if not unknown:
            return skops.io.loads(raw, trusted=reported)
    except Exception as error:  # zip, JSON and skops' own errors: hostile bytes raise any of them
        raise BadInput(Code.REQUEST_INVALID, f"not a skops file: {type(error).__name__}: {error}"[:300]) from None
    raise BadInput(
        Code.ESTIMATOR_UNTRUSTED,
        f"unknown types {', '.join(unknown)}: an operator can add them to convert.trusted_types if their code is safe",
    )


def _is_trusted(name: str, trusted: tuple[str, ...]) -> bool:
    return name in TRUSTED_TYPES or name in trusted or name.startswith(TRUSTED_MODULES)


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


def missable(estimator: Any, rows: SampleFrame) -> list[str]:
    """Columns in which a row may lack its number; the estimator itself is asked."""
    real = [name for name in rows.columns if rows.is_real(name)]
    if _answers(estimator, rows.with_missing(real)):
        return real
    return [name for name in real[:MAX_MISSING_ASKED] if _answers(estimator, rows.with_missing([name]))]


def _answers(estimator: Any, rows: SampleFrame) -> bool:
    try:
        (estimator.predict if hasattr(estimator, "predict") else estimator.transform)(rows.frame)
    except (ValueError, TypeError):
        return False
    return True
