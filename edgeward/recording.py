"""Records the answers of a live estimator, in the environment in which it was fitted: to the sample and to test rows.

Decides that an estimator which refuses its own sample is an error before anything is sent. The answers are the
reference by which the controller judges the converted model, so that no difference of versions, types or missing values
between the two is hidden. Refuses to know how a model is converted.
"""

import textwrap
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from contract.answers.asked import Answers, ask, ask_each, methods_of
from contract.answers.distinct import refuse_few
from contract.answers.perturbed_rows import perturb, runs_of
from contract.answers.reached import numbers_for_texts
from contract.answers.recorded import MAX_ANSWERED_ROWS, Recorded, Sample, encode_recorded
from contract.answers.tree_thresholds import thresholds_of
from contract.errors import BadInput, Code
from contract.samples import decode_sample

LIBRARIES = ("scikit-learn", "numpy", "pandas")
MAX_WORDS = 300
"""Characters of an estimator's own words that are passed on."""


def with_answers(estimator: Any, sample: Any, encoded: bytes, *, waived: bool) -> bytes:
    """Returns an encoded sample together with the answers of the live estimator.

    `sample` is the user's sample, `encoded` its form for devices. BadInput `sample_refused`: the estimator does not
    answer its sample; `sample_too_small` for few distinct rows, unless they are `waived`.
    """
    plain = decode_sample(encoded)
    if not waived:
        refuse_few(plain)
    given = _head(sample)
    answers = _answers(estimator, given)
    tried = perturb(_head(plain), thresholds_of(estimator, _width(plain)))
    frame = _as_given(given, tried.rows)
    row_answers, answered = ask_each(
        lambda start, stop: ask(estimator, _rows(frame, start, stop)), runs_of(tried), len(tried.kinds)
    )
    recorded = Recorded(
        answers=answers,
        rows=tried.rows,
        kinds=tried.kinds,
        answered=answered,
        row_answers=row_answers,
        libraries=_libraries(estimator),
    )
    return encode_recorded(encoded, recorded)


ONE_OUTPUT = "fit one estimator for each output, and push each as a model, or use ClassifierChain"
"""What to do about probabilities that are a list with an array for each output."""


def _answers(estimator: Any, given: Any) -> Answers:
    name = type(estimator).__name__
    if not methods_of(estimator):
        raise BadInput(Code.SAMPLE_REFUSED, f"{name} has neither predict nor transform: it has no answer for devices")
    try:
        answers = ask(estimator, given)
    except Exception as error:  # an estimator may raise anything
        if hasattr(given, "columns") and (named := numbers_for_texts(estimator, *_columns_of(given))):
            raise BadInput(Code.SAMPLE_REFUSED, named) from None
        words = textwrap.shorten(f"{type(error).__name__}: {error}", MAX_WORDS, placeholder=" ...")
        raise BadInput(
            Code.SAMPLE_REFUSED,
            f"your {name} refuses its own sample, so nothing was sent: {words}. Pass as sample what you would pass to "
            f"{methods_of(estimator)[0]}, from a fitted estimator",
        ) from None
    rows = len(given)
    if any(not array.ndim or len(array) != rows for array in answers.values()):
        shapes = ", ".join(f"{method} {list(array.shape)}" for method, array in answers.items())
        words = f"your {name} answers {rows} rows with {shapes}: one answer for each row. Remedy: {ONE_OUTPUT}"
        raise BadInput(Code.SAMPLE_REFUSED, words)
    return answers


def _columns_of(given: Any) -> tuple[list[str], list[str]]:
    """The names of the columns of a DataFrame, and those of its columns of numbers."""
    kinds = {str(name): getattr(dtype, "kind", "O") for name, dtype in given.dtypes.items()}
    return list(kinds), [name for name, kind in kinds.items() if kind in "iuf"]


def _head(sample: Any) -> Any:
    """Returns the rows that are answered, in the form of the sample."""
    if hasattr(sample, "iloc"):
        return sample.iloc[:MAX_ANSWERED_ROWS]
    if isinstance(sample, Mapping):
        return {name: np.asarray(column)[:MAX_ANSWERED_ROWS] for name, column in sample.items()}
    return np.asarray(sample)[:MAX_ANSWERED_ROWS]


def _as_given(given: Any, rows: Sample) -> Any:
    """Returns plain rows in the form and the types of the user's sample, as far as possible."""
    if isinstance(rows, np.ndarray):
        return rows
    if not hasattr(given, "columns") and not isinstance(given, Mapping):  # a list of texts, or a Series
        return next(iter(rows.values()))
    if not hasattr(given, "iloc"):
        return rows
    import pandas as pd  # pandas is installed if the user has a DataFrame

    frame = pd.DataFrame(rows)
    frame.columns = given.columns
    for position, dtype in enumerate(given.dtypes):
        try:
            frame.isetitem(position, _typed(frame.iloc[:, position], dtype))
        except (TypeError, ValueError):
            continue  # such a cell does not fit the type; the estimator decides about it
    return frame


def _typed(column: Any, dtype: Any) -> Any:
    """Returns a column in a type. A category that the type does not have is added to it, because as a missing cell it
    would be answered differently.
    """
    if hasattr(dtype, "categories"):
        known = dtype.categories
        others = [each for each in column.dropna().unique().tolist() if each not in known]
        dtype = type(dtype)([*known, *others], ordered=dtype.ordered) if others else dtype
    return column.astype(dtype)


def _rows(frame: Any, start: int, stop: int) -> Any:
    if hasattr(frame, "iloc"):
        return frame.iloc[start:stop]
    if isinstance(frame, dict):
        return {name: column[start:stop] for name, column in frame.items()}
    return frame[start:stop]


def _width(sample: Sample) -> int:
    return sample.shape[1] if isinstance(sample, np.ndarray) else len(sample)


def _libraries(estimator: Any) -> dict[str, str]:
    """Versions of the libraries that answered: scikit-learn's, and that of the estimator's own package."""
    package = type(estimator).__module__.partition(".")[0]
    return versions_of((*LIBRARIES, *(() if package in ("sklearn", "__main__") else (package,))))


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed, by name."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
