"""The search for the precision in which ONNX answers as the estimator does: tried one by one, each within its time.

Decides which converted form is kept: the first that passes parity; if none does, one that differs only in the labels of
rows with equally likely classes; else the best that could be judged, so that a refusal can say how large the
differences are. Refuses to know how a conversion works.
"""

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as replace_fields

from contract.answers.perturbed_rows import BOUNDARY, LACKING_NUMBERS, LACKING_TEXT
from contract.errors import BadInput, Code
from contract.tensors import Array
from contract.ties import Ties
from controller.convert.compare import MAX_WORST, by_output, compare, differing_rows, tolerances
from controller.convert.margins import as_one_margin
from controller.convert.missing import STAND_INS, Ask, required_columns, stand_ins_of
from controller.convert.model_file import Model
from controller.convert.own.imputing import MISSING_TEXT
from controller.convert.reference_answers import AnsweredRows, ReferenceAnswers, asked_again
from controller.convert.remedies import MAX_SAID_CHARS, at_a_word, remedy
from controller.convert.runs import open_session, run_rows
from controller.convert.sample_frame import SampleFrame
from controller.convert.sklearn import Precision, convert, precisions_for, real_dtype
from controller.convert.summed import ties_of_model
from controller.gates.parity import NOTHING, Compared, Parity, WorstRow, answers_strictly, judge_parity


@dataclass(frozen=True, slots=True)
class Judged:
    """A converted form with its evidence, and what its rows may lack."""

    model: Model
    real: str
    """The dtype of real inputs."""
    rows: SampleFrame
    """The sample, with the texts that replace missing ones in this form."""
    parity: Parity
    allowed: dict[str, Array]
    """The absolute tolerance of each float output."""
    ties: Ties | None
    """How to find rows with equally likely classes."""
    required: tuple[str, ...] | None
    """Columns of numbers that no row may lack; None: no number may be missing."""


def best_precision(estimator: Any, reference: ReferenceAnswers, budget_s: float) -> Judged:
    """Returns the first form that passes parity strictly, else the best with nothing but ties, else the one with the
    fewest differing rows.

    BadInput of the first precision if none could be judged. `budget_s` is the time of each precision.
    """
    judged: list[Judged] = []
    faults: list[tuple[Precision, BadInput]] = []
    for precision in precisions_for(estimator, reference.sample.rows):
        try:
            with time_budget(budget_s):
                judged.append(_judge(estimator, reference, precision))
        except BadInput as error:
            faults.append((precision, error))
            continue
        if answers_strictly(judged[-1].parity):
            break
    if not judged:
        raise _with_remedy(estimator, faults[0][1], reference.sample.rows)
    best = judged[-1] if answers_strictly(judged[-1].parity) else _second_best(judged)
    untried = tuple(at_a_word(f"{precision}: {error.detail}", MAX_SAID_CHARS) for precision, error in faults)
    with time_budget(budget_s):
        witnessed = _with_witness(estimator, reference, best.parity)
    return replace(best, parity=replace_fields(witnessed, untried=untried))


def _with_remedy(estimator: Any, fault: BadInput, rows: SampleFrame) -> BadInput:
    """Returns the fault with the step and the remedy, if the runtime and not the converter found it."""
    if fault.code != Code.CONVERSION_FAILED or "Remedy: " in fault.detail:
        return fault
    return BadInput(fault.code, remedy(estimator, RuntimeError(fault.detail), rows))


def _second_best(judged: list[Judged]) -> Judged:
    """Returns the best form of those that do not pass strictly.

    Of forms with nothing but ties it is one that answers rows with missing numbers, then one in float64, which holds
    on rows that nobody tried.
    """
    tied = [each for each in judged if judge_parity(each.parity).passed]
    if not tied:
        return min(judged, key=_differing)
    return min(tied, key=lambda each: (each.required is None, each.real == "float32", each.parity.ties))


def _differing(judged: Judged) -> float:
    """The sum of the fractions of rows that differ, over all kinds of rows."""
    parity = judged.parity
    return parity.sample.ratio_beyond + sum(each.ratio_beyond for each in parity.kinds.values())


@contextmanager
def time_budget(seconds: float) -> Iterator[None]:
    """Ends the block after so many seconds of wall-clock time. BadInput `conversion_limit` then.

    It works only in the main thread; the conversion child runs there. Code in C is ended when it returns.
    """

    def end(*_: object) -> None:
        raise BadInput(Code.CONVERSION_LIMIT, f"took longer than its {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    timer = threading.Timer(seconds, _thread.interrupt_main, (signal.SIGALRM,))  # confinement forbids timers of signals
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGALRM, before)


def _judge(estimator: Any, reference: ReferenceAnswers, precision: Precision) -> Judged:
    model = convert(estimator, reference.sample.rows, precision)
    return judge_form(model, open_session(model), reference, precision, real_dtype(precision))


def judge_form(model: Model, session: Any, reference: ReferenceAnswers, precision: str, real: str) -> Judged:
    """Returns a form with its evidence. `session` is one of `model`; `real`: the dtype of its real inputs."""
    rows = reference.sample.rows
    asked, names = asks(session, real)
    expected = by_output(names, reference.sample.answers)
    one = as_one_margin(model, expected, asked(rows)) if len(expected) > 1 else None
    if one is not None:
        model, session = one, open_session(one)
        asked, names = asks(session, real)
        expected = by_output(names, reference.sample.answers)
    allowed = tolerances(expected, alone=is_regression(reference))
    texts = (MISSING_TEXT, *STAND_INS) if isinstance(model, bytes) and MISSING_TEXT.encode() in model else STAND_INS
    given = replace(rows, stand_ins=stand_ins_of(reference, asked, allowed, texts))
    ties = ties_of_model(model, expected)
    parity = _parity(reference, given, asked, (allowed, ties), precision)
    required = required_columns(reference, asked, allowed)
    read = {entry.name for entry in session.get_inputs()}
    return _of_what_is_read(Judged(model, real, given, parity, allowed, ties, required), read)


def _of_what_is_read(judged: Judged, read: set[str]) -> Judged:
    """Returns the form with only the columns that its model reads, so that devices need not send a dropped one."""
    if judged.rows.as_matrix:
        return judged
    columns = tuple(name for name in judged.rows.columns if name in read)
    required = None if judged.required is None else tuple(name for name in judged.required if name in read)
    return replace(judged, rows=replace(judged.rows, columns=columns), required=required)


def asks(session: Any, real: str) -> tuple[Ask, list[str]]:
    """Returns (a function that answers rows by the converted model of a session, the names of its outputs)."""
    names = [output.name for output in session.get_outputs()]
    taken = {entry.name for entry in session.get_inputs()}

    def ask(rows: SampleFrame) -> dict[str, Array]:
        arrays = {name: array for name, array in rows.arrays(real).items() if name in taken}
        return dict(zip(names, run_rows(session, names, arrays), strict=True))

    return ask, names


def is_regression(reference: ReferenceAnswers) -> bool:
    """Whether the estimator predicts numbers, of which each column is its own quantity."""
    predicted = reference.sample.answers.get("predict")
    return predicted is not None and predicted.dtype.kind == "f" and len(reference.sample.answers) == 1


def _parity(
    reference: ReferenceAnswers,
    rows: SampleFrame,
    asked: Ask,
    within: tuple[dict[str, Array], Ties | None],
    precision: str,
) -> Parity:
    """`within`: (the tolerance of each float output, how to find ties)."""
    compared: dict[str, Compared] = {}
    worst: list[WorstRow] = []
    for part in (reference.sample, *reference.tried):
        if part.kind not in (*LACKING_NUMBERS, LACKING_TEXT):  # `missing` judges these rows
            compared[part.kind], found = _compared(part, rows, asked, within)
            worst += found
    return Parity(
        reference=reference.by,
        precision=precision,
        sample=compared.pop(reference.sample.kind),
        boundary=compared.pop(BOUNDARY, NOTHING),
        others=compared,
        refused={kind: len(refused) for kind, refused in reference.refused.items()},
        worst=tuple(worst[:MAX_WORST]),
    )


def _compared(
    part: AnsweredRows, rows: SampleFrame, asked: Ask, within: tuple[dict[str, Array], Ties | None]
) -> tuple[Compared, list[WorstRow]]:
    given = replace(part.rows, stand_ins=rows.stand_ins)
    actual, (allowed, ties) = asked(given), within
    return compare(given, by_output(list(actual), part.answers), actual, part.kind, allowed, ties=ties)


def _with_witness(estimator: Any, reference: ReferenceAnswers, parity: Parity) -> Parity:
    """Returns the evidence with a second comparison: the estimator as the controller loads it, and the recorded
    answers.
    """
    if not reference.recorded:
        return parity
    from sklearn import __version__

    by = f"scikit-learn {__version__} on the controller"
    allowed = tolerances(reference.sample.answers, alone=is_regression(reference))
    counted = differing = 0
    try:
        for part, answers in asked_again(estimator, reference):
            counted += len(part.rows)
            differing += int(differing_rows(part.answers, answers, allowed).sum())
    except Exception as error:  # an estimator of another version may raise anything
        words = at_a_word(f"{by} does not run it: {type(error).__name__}: {error}", MAX_SAID_CHARS)
        return replace_fields(parity, witness_by=words)
    return replace_fields(
        parity, witness=Compared(rows=counted, differing=differing, max_abs_difference=0.0), witness_by=by
    )
