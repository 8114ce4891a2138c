"""Which columns of a sample reach which part of an estimator, as far as their names can be traced.

Decides where a column of text reaches a part that takes numbers: scikit-learn converts "3" to 3 silently, ONNX does
not. Refuses to know converters.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.tensors import Array

_TAKE_TEXT = (
    "Encoder", "Vectorizer", "FunctionTransformer", "HistGradientBoosting", "Boosted", "Binarizer", "Hasher", "Dummy",
    "CategorySets",
)  # fmt: skip
"""Parts of the names of types that may get text."""
_HOLDS = ("steps", "transformers_", "transformer_list")
_ANSWERS = ("best_estimator_", "estimator_", "regressor_")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")


@dataclass(frozen=True, slots=True)
class Reached:
    """A part of an estimator and the names of the columns that it gets; () if they cannot be traced."""

    path: str
    part: Any
    columns: tuple[str, ...]


def reached(estimator: Any, columns: Sequence[str], path: str = "") -> Iterator[Reached]:
    """Yields every part with its columns, the outer ones first."""
    yield Reached(path or "estimator", estimator, tuple(columns))
    for name, inner, fed in _inner(estimator, tuple(columns)):
        yield from reached(inner, fed, f"{path} > {name}" if path else name)


def _inner(estimator: Any, columns: tuple[str, ...]) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    if hasattr(estimator, "steps"):
        for name, step in estimator.steps:
            if not hasattr(step, "get_params"):
                continue  # "passthrough"
            yield f"step '{name}'", step, columns
            columns = columns if type(step).__name__ == "SimpleImputer" else ()
    for entry in getattr(estimator, "transformers_", None) or ():
        if hasattr(entry[1], "get_params"):
            yield f"step '{entry[0]}'", entry[1], _selected(entry[2], columns)
    for name, step in getattr(estimator, "transformer_list", None) or ():
        if hasattr(step, "get_params"):
            yield f"step '{name}'", step, columns
    for attribute in _ANSWERS:
        if hasattr(getattr(estimator, attribute, None), "get_params"):
            yield attribute, getattr(estimator, attribute), columns


def _selected(chosen: Any, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the columns that a ColumnTransformer has selected by names, positions, a mask or a slice."""
    listed = [chosen] if isinstance(chosen, str | int) else chosen
    if isinstance(listed, slice) or not columns:
        return columns[listed] if isinstance(listed, slice) and not isinstance(listed.start, str) else ()
    found = np.asarray(listed)
    if found.dtype.kind in "US":
        return tuple(found.tolist())
    if found.dtype.kind == "O":
        return tuple(str(each) for each in found.tolist())
    at = np.flatnonzero(found) if found.dtype.kind == "b" else found
    return tuple(columns[int(place)] for place in at) if found.size else ()


def texts_for_numbers(estimator: Any, columns: Sequence[str], texts: dict[str, Array]) -> str:
    """Says which part gets a column of text but takes numbers, and what to do; "" if none does. `texts`:
    cells by name.
    """
    for each in reached(estimator, columns):
        kind = type(each.part).__name__
        holds = any(getattr(each.part, name, None) for name in _HOLDS) or any(hasattr(each.part, a) for a in _ANSWERS)
        takes = holds or any(part in kind for part in _TAKE_TEXT) or _imputes_text(each.part)
        name = next((name for name in each.columns if name in texts), None)
        if name is not None and not takes:
            cells = [cell for cell in texts[name].tolist() if isinstance(cell, str)]
            shown = f" such as {cells[0]!r:.40}" if cells else ""
            return (
                f"{each.path} ({kind}) takes numbers, and column '{name}' of the sample holds text{shown}. "
                f"Remedy: {_turned(name, cells)}"
            )
    return ""


def numbers_for_texts(estimator: Any, columns: Sequence[str], numbers: Sequence[str]) -> str:
    """Says which part knows categories of text but gets a column of numbers, and what to do; "" if none does."""
    for each in reached(estimator, columns):
        known = getattr(each.part, "categories_", None)
        if known is None or len(known) != len(each.columns):
            continue
        for name, categories in zip(each.columns, known, strict=True):
            texts = [cell for cell in np.asarray(categories).tolist() if isinstance(cell, str)]
            if texts and name in numbers:
                return (
                    f"{each.path} ({type(each.part).__name__}) was fitted on text such as {texts[0]!r:.40}, and column "
                    f"'{name}' of the sample holds numbers. Remedy: pass it as text; a .csv says nothing of types, so "
                    f"add --text '{name}' to edgeward model push, or use Parquet"
                )
    return ""


def _imputes_text(part: Any) -> bool:
    return type(part).__name__ == "SimpleImputer" and np.asarray(getattr(part, "statistics_", ())).dtype.kind in "OUS"


def _turned(name: str, cells: list[str]) -> str:
    """Says what to do with a column of such texts."""
    if cells and all(map(_is_number, cells)):
        return f"pass it as numbers, sample['{name}'].astype(float), as devices must send it too"
    if cells and all(_DATE.fullmatch(cell) for cell in cells):
        return "turn the date into numbers before the pipeline, such as days since a day, and fit again"
    return "encode text with OneHotEncoder or OrdinalEncoder before this step, and fit again"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
