"""Which values a row may lack, by the estimator's own answers to rows with missing cells; ONNX must give the same.

Decides for each column of numbers whether it is required, and for each column of text what replaces a missing one.
Refuses to know how a model is converted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from contract.answers.perturbed_rows import LACKING_NUMBERS, LACKING_TEXT
from contract.errors import BadInput
from contract.tensors import Array
from controller.convert.compare import by_output, differing_rows
from controller.convert.reference_answers import AnsweredRows, ReferenceAnswers
from controller.convert.sample_frame import SampleFrame

STAND_INS = ("nan", "None", "")
"""Texts that converters write where scikit-learn sees a missing one; the first with the same answer is used."""
ONE_NUMBER = LACKING_NUMBERS[0]

Ask = Callable[[SampleFrame], dict[str, Array]]
"""Answers rows by the converted model: outputs by name."""


def required_columns(reference: ReferenceAnswers, ask: Ask, allowed: Mapping[str, Array]) -> tuple[str, ...] | None:
    """Returns the columns of numbers that no row may lack; None if that is all of them, or if ONNX answers such rows
    differently.
    """
    rows = reference.sample.rows
    real = [name for name in rows.columns if rows.is_real(name)]
    lacking = [part for part in reference.tried if part.kind in LACKING_NUMBERS]
    alike = {part.kind: _alike(part, ask, allowed) for part in lacking}
    required = _refused(reference, real, lacking, alike)
    if len(required) == len(real):
        return None
    for part in lacking:
        counted = ~_lacks(part.rows, required).any(axis=1)
        if not alike[part.kind][counted].all():
            return None  # the answers for one column may agree by chance: trees use it in few rows
    return tuple(required)


def _refused(
    reference: ReferenceAnswers, real: list[str], lacking: list[AnsweredRows], alike: dict[str, Array]
) -> list[str]:
    """Returns the columns without which the estimator refuses rows, or without which ONNX answers differently, or
    that were not tested.
    """
    found: dict[str, list[bool]] = {name: [] for name in real}
    for part in lacking:
        if part.kind == ONE_NUMBER:
            for name, here in zip(real, _lacks_alone(part.rows, real).T, strict=True):
                found[name] += alike[part.kind][here].tolist()
    if ONE_NUMBER in reference.refused:
        for name, here in zip(real, _lacks_alone(reference.refused[ONE_NUMBER], real).T, strict=True):
            found[name] += [False] * int(here.any())
    together = all(alike.get(kind, np.zeros(1)).all() for kind in LACKING_NUMBERS[2:4])
    return [name for name in real if not (all(found[name]) if found[name] else together)]


def _lacks_alone(rows: SampleFrame, names: Sequence[str]) -> Array:
    """Returns which of the columns `names` each row lacks, of rows that lack no other: bool of shape (rows, names)."""
    lacks = _lacks(rows, names)
    return np.asarray(lacks & (lacks.sum(axis=1, keepdims=True) == 1))


def _lacks(rows: SampleFrame, names: Sequence[str]) -> Array:
    """Returns which of the columns `names` each row lacks: bool of shape (rows, names)."""
    return np.stack([rows.missing(name) for name in names], axis=1) if names else np.zeros((len(rows), 0), dtype=bool)


def stand_ins_of(
    reference: ReferenceAnswers, ask: Ask, allowed: Mapping[str, Array], tried: Sequence[str] = STAND_INS
) -> dict[str, str]:
    """Returns by column the text that replaces a missing one; a column that is not in it requires its text.

    `tried`: the texts, of which the first with the same answers is used.
    """
    rows, found = reference.sample.rows, dict[str, str]()
    lacking = next((part for part in reference.tried if part.kind == LACKING_TEXT), None)
    refused = reference.refused.get(LACKING_TEXT)
    for name in rows.text_columns:
        if rows.has_text(name, ""):
            found[name] = ""  # CSV cannot distinguish the two, and the estimator knows the empty text
        elif lacking is not None and not (refused is not None and refused.missing(name).any()):
            here = _without_text(lacking, name, rows)
            stand_in = next((text for text in tried if here and _stands(here, name, text, ask, allowed)), None)
            found |= {} if stand_in is None else {name: stand_in}
    return found


def _without_text(lacking: AnsweredRows, name: str, rows: SampleFrame) -> AnsweredRows | None:
    """Returns the rows that lack the text of this column, and of no other that every row of the sample has."""
    others = [other for other in rows.text_columns if other != name]
    here = lacking.rows.missing(name) & ~_lacks(lacking.rows, others).any(axis=1)
    if not here.any():
        return None
    return AnsweredRows(
        lacking.kind, lacking.rows.part(here), {method: array[here] for method, array in lacking.answers.items()}
    )


def _stands(lacking: AnsweredRows, name: str, text: str, ask: Ask, allowed: Mapping[str, Array]) -> bool:
    rows = replace(lacking.rows, stand_ins={**lacking.rows.stand_ins, name: text})
    return bool(_alike(replace(lacking, rows=rows), ask, allowed).all())


def _alike(part: AnsweredRows, ask: Ask, allowed: Mapping[str, Array]) -> Array:
    """Returns which rows the converted model answers as the estimator does: bool. A failed run is a
    different answer.
    """
    try:
        actual = ask(part.rows)
    except BadInput:
        return np.zeros(len(part.rows), dtype=bool)
    return ~differing_rows(by_output(list(actual), part.answers), actual, allowed)


def named(pairs: Mapping[str, str], columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns (column, text) in the order of the columns."""
    return tuple((name, pairs[name]) for name in columns if name in pairs)
