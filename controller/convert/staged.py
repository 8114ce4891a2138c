"""Makes two models in a row one model for devices: converts, matches and joins them, and compares with their
recorded answers.

Decides that the second is judged on the outputs of the first for the sample and for test rows, and the joined graph
on the whole sample. Refuses to know files and processes.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace as replace_fields

from contract.answers.asked import ask
from contract.answers.recorded import Sample, decode_recorded
from contract.answers.session_tensors import tensor_of
from contract.answers.tensor_sample import match_sample
from contract.errors import BadInput, Code
from contract.manifest import Stage, Tensor
from contract.stages import MATRIX, Stages, match_matrix, match_stages
from contract.tensors import Array
from controller.convert.classes import classes_of_estimator
from controller.convert.compare import by_output, differing_rows, shaped, tolerances
from controller.convert.estimator import load_estimator, told_parameters
from controller.convert.joined import join
from controller.convert.judge import judge_conversion
from controller.convert.model_file import Model
from controller.convert.onnx_origin import as_devices_take, freed
from controller.convert.runs import open_session, run_rows
from controller.convert.summed import ties_of_model
from controller.gates.parity import NOTHING, Compared, Parity

ONE_GRAPH = "one graph"


@dataclass(frozen=True, slots=True)
class Staged:
    """One model made of two, its arrays and its evidence."""

    model: bytes
    session: Any
    inputs: dict[str, Array]
    columns: tuple[str, ...]
    parity: Parity
    stages: tuple[Stage, Stage]
    params: dict[str, str]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Second:
    """The second model, and the answers that both in a row must give."""

    model: Model
    feeds: dict[str, str]
    real: str
    """The dtype of its inputs; empty: that of the first model's outputs."""
    expected: dict[str, Array]
    parity: Parity
    params: dict[str, str]
    classes: tuple[str, ...] = ()


def convert_stages(
    stages: Stages, sample: Sample, trusted: tuple[str, ...], *, budget_s: float, waived: bool
) -> Staged:
    """Returns one model. BadInput as of a push of each alone, `request_invalid` where they do not match.

    `trusted`: foreign types of estimators; `budget_s`: the time of each precision; `waived`: few rows are enough.
    """
    first = as_devices_take(stages.first)
    session = open_session(first)
    matched = match_sample(sample, [tensor_of(entry) for entry in session.get_inputs()])
    first, session = freed(first, session, matched.arrays)
    outputs = [tensor_of(entry) for entry in session.get_outputs()]
    given = dict(zip(_names(outputs), run_rows(session, _names(outputs), matched.arrays), strict=True))
    if stages.head.second == "onnx":
        second = _onnx(stages, outputs, given)
    else:
        second = _estimator(stages, outputs, given, trusted, budget_s=budget_s, waived=waived)
    joined = join(first, second.model, second.feeds, real=second.real)
    session = open_session(joined)
    parity = _from_end_to_end(joined, session, matched.arrays, second)
    pushed = zip(stages.head.names, (stages.first, stages.second), ({}, second.feeds), strict=True)
    named = tuple(
        Stage(name=name, sha256=hashlib.sha256(raw).hexdigest(), feeds=tuple(sorted(feeds.items())))
        for name, raw, feeds in pushed
    )
    return Staged(
        joined, session, matched.arrays, matched.columns, parity, (named[0], named[1]), second.params, second.classes
    )


def _names(tensors: list[Tensor]) -> list[str]:
    return [tensor.name for tensor in tensors]


def _onnx(stages: Stages, outputs: list[Tensor], given: dict[str, Array]) -> _Second:
    model = as_devices_take(stages.second)
    session = open_session(model)
    feeds = match_stages(outputs, [tensor_of(entry) for entry in session.get_inputs()], stages.head.feeds)
    model, session = freed(model, session, {name: given[output] for name, output in feeds.items()})
    lacking = {entry.name for entry in session.get_outputs()} - stages.answers.keys()
    if lacking:
        raise BadInput(Code.TENSORS_INVALID, f"no answers were recorded for {', '.join(sorted(lacking))}")
    parity = _no_rows(f"{stages.head.answered_by} where they were pushed", ONE_GRAPH)
    return _Second(model, feeds, real="", expected=stages.answers, parity=parity, params={})


def _estimator(
    stages: Stages,
    outputs: list[Tensor],
    given: dict[str, Array],
    trusted: tuple[str, ...],
    *,
    budget_s: float,
    waived: bool,
) -> _Second:
    estimator = load_estimator(stages.second, trusted)
    feeds = match_matrix(outputs, stages.head.feeds)
    features = given[feeds[MATRIX]]
    features, recorded = features.reshape(-1, features.shape[-1]), None
    if stages.recorded:
        theirs, recorded = decode_recorded(stages.recorded)
        features = np.asarray(theirs)
    judged = judge_conversion(estimator, features, recorded, budget_s=budget_s, waived=waived)
    answers = ask(estimator, features) if recorded is None else recorded.answers
    names = [output.name for output in open_session(judged.model).get_outputs()]
    parity = replace_fields(judged.parity, reference=f"{stages.head.answered_by}, then {judged.parity.reference}")
    return _Second(
        judged.model,
        feeds,
        "" if judged.real == str(features.dtype) else judged.real,
        by_output(names, answers),
        parity,
        told_parameters(estimator),
        classes_of_estimator(estimator),
    )


def _no_rows(reference: str, precision: str) -> Parity:
    return Parity(reference=reference, precision=precision, sample=NOTHING, boundary=NOTHING)


def _from_end_to_end(joined: bytes, session: Any, arrays: dict[str, Array], second: _Second) -> Parity:
    """The evidence of the second model, with the comparison of the one model over the whole sample."""
    names = [output.name for output in session.get_outputs()]
    actual = dict(zip(names, run_rows(session, names, arrays), strict=True))
    expected = {name: second.expected[name] for name in names if name in second.expected}
    actual = {name: shaped(actual[name], want) for name, want in expected.items()}
    if len({array.shape[:1] for array in expected.values()}) > 1:  # outputs that do not count rows are one row
        expected, actual = ({name: array[None] for name, array in each.items()} for each in (expected, actual))
    allowed, ties = tolerances(expected, alone=len(expected) == 1), ties_of_model(joined, expected)
    strictly = differing_rows(expected, actual, allowed)
    differing = differing_rows(expected, actual, allowed, {} if ties is None else ties.permitted(expected))
    largest = max((_apart(want, actual[name]) for name, want in expected.items()), default=0.0)
    compared = Compared(
        rows=len(differing),
        differing=int(differing.sum()),
        max_abs_difference=largest,
        ties=int((strictly & ~differing).sum()),
    )
    return replace_fields(second.parity, sample=compared)


def _apart(want: Array, got: Array) -> float:
    if want.dtype.kind != "f" or want.shape != got.shape or not want.size:
        return 0.0
    return float(np.nanmax(np.abs(want.astype(np.float64) - got), initial=0.0))
