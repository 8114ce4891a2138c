"""Loads estimators: takes skops bytes, returns a fitted scikit-learn estimator, or an error that names the type.

Decides which estimators would convert wrongly without an error. Never unpickles, and opens no file that the bytes name.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import skops.io

from contract.errors import BadInput, Code
from controller.convert.booster_texts import with_boosters
from controller.convert.parameters import refuse_opening
from controller.convert.remedies import INSTEAD
from controller.convert.skops_archive import check_archive
from controller.convert.trusted_types import is_trusted

_COUNTING = ("TfidfVectorizer", "CountVectorizer")
_VECTORIZERS = (*_COUNTING, "HashingVectorizer")
_DEFAULT_TOKENS = r"(?u)\b\w\w+\b"


def load_estimator(raw: bytes, trusted: tuple[str, ...]) -> Any:
    """Returns the estimator. BadInput `estimator_untrusted` names unknown types; `request_invalid`: the bytes are not
    skops.
    """
    try:
        check_archive(raw)
        reported = skops.io.get_untrusted_types(data=raw)
        unknown = sorted(name for name in reported if not is_trusted(name, trusted))
        if not unknown:
            estimator = skops.io.loads(raw, trusted=reported)
            refuse_opening(estimator)
            return with_boosters(estimator)
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # zip, JSON and skops' own errors: hostile bytes raise any of them
        raise BadInput(Code.REQUEST_INVALID, f"not a skops file: {type(error).__name__}: {error}") from None
    raise BadInput(Code.ESTIMATOR_UNTRUSTED, _untrusted(unknown))


def told_parameters(estimator: Any) -> dict[str, str]:
    """The estimator's own parameters by name, each as a short text, for the evidence of a version."""
    return {name: repr(value)[:200] for name, value in sorted(estimator.get_params(deep=False).items())}


def _untrusted(unknown: list[str]) -> str:
    """Returns the remedy for unknown types: it is useful to trust one only if its package is installed."""
    absent = sorted({name.partition(".")[0] for name in unknown if not _is_installed(name.partition(".")[0])})
    types = f"unknown types {', '.join(unknown)}"
    if absent:
        return (
            f"{types}: the controller does not have {', '.join(absent)}. Push an ONNX file that you have made yourself"
        )
    return f"{types}: an operator can add them to convert.trusted_types if their code is safe"


def _is_installed(package: str) -> bool:
    """Returns whether a package can be imported here, without running it. A type that was defined in a notebook
    cannot.
    """
    try:
        return package != "__main__" and importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def walk(estimator: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (path of steps, estimator) for the estimator and every estimator fitted inside it."""
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
    """Raises BadInput `estimator_unsupported` for a part that would convert wrongly or fail with an unclear message."""
    for path, part in walk(estimator):
        if type(part).__name__ == "MultiOutputClassifier":  # its probabilities are a sequence, which devices never take
            words = f"has probabilities of several outputs: {INSTEAD['MultiOutputClassifier']}"
            raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{path} (MultiOutputClassifier) {words}")
        if type(part).__name__ in _COUNTING and (words := next((say for ask, say in _NOT_IN_ONNX if ask(part)), "")):
            raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{path} ({type(part).__name__}): {words}, and fit again")


_NOT_IN_ONNX: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda part: part.analyzer == "char_wb", "analyzer='char_wb' has no form in ONNX: set analyzer='char', which has"),
    (
        lambda part: any(map(callable, (part.analyzer, part.tokenizer, part.preprocessor))),
        "a function of your own cannot run on a device: find words by token_pattern, and leave the function out",
    ),
    (lambda part: part.strip_accents is not None, "accents cannot be removed in ONNX: leave strip_accents out"),
    (
        lambda part: part.stop_words is not None and part.ngram_range[1] > 1,
        "ONNX joins other words than scikit-learn where stop words stood: leave stop_words out, or set max_df, or "
        "ngram_range=(1, 1)",
    ),
)
"""(a check of a vectorizer's setting, what to do)."""


def finds_words_by_default(part: Any) -> bool:
    """Tells whether a vectorizer finds words by scikit-learn's default pattern."""
    return type(part).__name__ in _COUNTING and (part.analyzer, part.token_pattern) == ("word", _DEFAULT_TOKENS)


def takes_texts(estimator: Any) -> bool:
    """Tells whether an estimator takes a list of texts, and no columns: its first step is a vectorizer."""
    steps = getattr(estimator, "steps", None)
    if steps:
        return takes_texts(steps[0][1])
    if hasattr(estimator, "transformer_list"):
        return any(takes_texts(part) for _, part in estimator.transformer_list)
    inner = getattr(estimator, "best_estimator_", None) or getattr(estimator, "estimator_", None)
    return type(estimator).__name__ in _VECTORIZERS or (inner is not None and takes_texts(inner))


def addresses_columns(estimator: Any) -> bool:
    """Tells whether a part selects columns by name, so that the ONNX model needs one input for each column."""
    return any(type(part).__name__ == "ColumnTransformer" for _, part in walk(estimator))
