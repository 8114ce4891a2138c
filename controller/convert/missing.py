"""What a row may lack: the estimator is asked, column by column, and ONNX must answer as it does.

Decides for each column of numbers whether it is required, and for each column of text what stands for a missing one.
Refuses to know how a model is converted.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from contract.errors import BadInput
from contract.tensors import Array
from controller.convert.compare import compare, estimator_outputs
from controller.convert.estimator import MAX_MISSING_ASKED, answers, missable
from controller.convert.sample_frame import SampleFrame

STAND_INS = ("nan", "None", "")
"""Texts that converters write where scikit-learn sees a missing one; the first that is answered alike is taken."""

Ask = Callable[[SampleFrame], dict[str, Array]]
"""Answers rows by the converted model: outputs by name."""


def required_columns(estimator: Any, rows: SampleFrame, ask: Ask) -> tuple[str, ...] | None:
    """Columns of numbers that no row may lack; None if that is all of them."""
    real = [name for name in rows.columns if rows.is_real(name)]
    columns = missable(estimator, rows)
    if not columns or not _alike(estimator, rows.with_missing(columns), ask):
        return None  # one column alone may agree by luck: trees look at it in few rows
    return tuple(name for name in real if name not in columns)


def stand_ins_of(estimator: Any, rows: SampleFrame, ask: Ask) -> dict[str, str]:
    """By column, the text that stands for a missing one; a column that is not here requires its text."""
    found: dict[str, str] = {}
    for name in rows.text_columns[:MAX_MISSING_ASKED]:
        if rows.has_text(name, ""):
            found[name] = ""  # CSV cannot tell the two apart, and the estimator knows the empty text
            continue
        lacking = rows.with_missing([name])
        if not answers(estimator, lacking):
            continue
        stand_in = _first_alike(estimator, lacking, ask, name)
        if stand_in is not None:
            found[name] = stand_in
    return found


def _first_alike(estimator: Any, lacking: SampleFrame, ask: Ask, name: str) -> str | None:
    for text in STAND_INS:
        if _alike(estimator, replace(lacking, stand_ins={**lacking.stand_ins, name: text}), ask):
            return text
    return None


def _alike(estimator: Any, rows: SampleFrame, ask: Ask) -> bool:
    """Whether the converted model answers rows as the estimator does; a run that fails is another answer."""
    try:
        actual = ask(rows)
    except BadInput:
        return False
    expected = estimator_outputs(estimator, rows, list(actual))
    return compare(rows, expected, actual, "missing")[0].differing == 0


def named(pairs: dict[str, str], columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(column, text) in the order of the columns."""
    return tuple((name, pairs[name]) for name in columns if name in pairs)
