"""The answers that a converted model must give: rows of several kinds, each with what the estimator answers to it.

Decides which answers are used: recorded answers of the user's own estimator if there are any, else those of the
estimator loaded here. Refuses to know ONNX.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from contract.answers.asked import Answers, ask, ask_each
from contract.answers.perturbed_rows import perturb, runs_of
from contract.answers.reached import numbers_for_texts
from contract.answers.recorded import Recorded, Sample
from contract.answers.tree_thresholds import thresholds_of
from contract.errors import BadInput, Code
from controller.convert.sample_frame import SampleFrame, read_sample

SAMPLE, TOGETHER = "sample", "all kinds"


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows of one kind, all answered."""

    kind: str
    rows: SampleFrame
    answers: Answers
    """Arrays of shape (rows,) or (rows, ...) by method."""


@dataclass(frozen=True, slots=True)
class ReferenceAnswers:
    """An estimator's answers to its sample and to test rows, and the rows that it refuses."""

    by: str
    """The libraries that answered, and where."""
    sample: AnsweredRows
    tried: tuple[AnsweredRows, ...]
    """The test rows by kind."""
    together: AnsweredRows | None
    """The test rows of all kinds in their original order; None if there are none."""
    refused: dict[str, SampleFrame]
    """The rows without an answer, by kind."""
    recorded: bool
    """Whether the answers came with the push, and were not given by the estimator as it is loaded here."""


def recorded_answers(recorded: Recorded, rows: SampleFrame, *, named: bool) -> ReferenceAnswers:
    """Returns the answers that came with a push."""
    versions = ", ".join(f"{name} {number}" for name, number in recorded.libraries.items() if name != "numpy")
    tried = _like(rows, recorded.rows, named=named)
    return replace(_sorted_by_kind(rows, tried, recorded), by=f"{versions} where it was pushed", recorded=True)


def own_answers(estimator: Any, rows: SampleFrame, sample: Sample, version: str, *, named: bool) -> ReferenceAnswers:
    """Returns the answers of the estimator as it is loaded here. BadInput `sample_refused` if it refuses its sample."""
    try:
        answers = ask(estimator, rows.given)
    except Exception as error:  # an estimator may raise anything
        numbers = [name for name in rows.columns if name not in rows.text_columns]
        words = numbers_for_texts(estimator, rows.columns, numbers)
        words = words or f"{type(estimator).__name__} refuses the sample: {type(error).__name__}: {error}"
        raise BadInput(Code.SAMPLE_REFUSED, words) from None
    perturbed = perturb(sample, thresholds_of(estimator, len(rows.columns)))
    tried = _like(rows, perturbed.rows, named=named)
    found, answered = ask_each(
        lambda start, stop: ask(estimator, tried.part(slice(start, stop)).given),
        runs_of(perturbed),
        len(perturbed.kinds),
    )
    recorded = Recorded(answers, perturbed.rows, perturbed.kinds, answered, found)
    return replace(_sorted_by_kind(rows, tried, recorded), by=f"scikit-learn {version} on the controller")


def asked_again(estimator: Any, reference: ReferenceAnswers) -> Iterator[tuple[AnsweredRows, Answers]]:
    """Yields (rows with the answers of the reference, the answers of the estimator to them).

    Raises what the estimator raises.
    """
    yield reference.sample, ask(estimator, reference.sample.rows.given)
    if reference.together is not None:
        yield from _asked_together(estimator, reference.together, reference.tried)


def _asked_together(
    estimator: Any, together: AnsweredRows, tried: tuple[AnsweredRows, ...]
) -> list[tuple[AnsweredRows, Answers]]:
    try:
        return [(together, ask(estimator, together.rows.given))]
    except Exception:  # rows of one kind alone may be answered
        return [(part, ask(estimator, part.rows.given)) for part in tried]


def _like(rows: SampleFrame, others: Sample, *, named: bool) -> SampleFrame:
    """Returns other rows in the form of the sample, whose own columns decide it."""
    return replace(rows, frame=read_sample(others, named=named).frame)


def _sorted_by_kind(rows: SampleFrame, tried: SampleFrame, recorded: Recorded) -> ReferenceAnswers:
    kinds, answered = recorded.kinds, recorded.answered
    found, refused = [], {}
    for kind in dict.fromkeys(kinds.tolist()):
        here = kinds == kind
        if (here & answered).any():
            of_kind = here[answered]
            part = {name: array[of_kind] for name, array in recorded.row_answers.items()}
            found.append(AnsweredRows(kind, tried.part(here & answered), part))
        if (here & ~answered).any():
            refused[kind] = tried.part(here & ~answered)
    sample = AnsweredRows(SAMPLE, rows, recorded.answers)
    together = AnsweredRows(TOGETHER, tried.part(answered), recorded.row_answers) if found else None
    return ReferenceAnswers("", sample, tuple(found), together, refused, recorded=False)
