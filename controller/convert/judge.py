"""From a fitted estimator and its sample to the ONNX form that answers as it does, with the evidence.

Decides the order: refuse what converts wrongly, find the reference answers, search the precision. Refuses to know
files and processes, so that tests convert in their own process.
"""

from typing import Any

from sklearn import __version__

from contract.answers.recorded import Recorded, Sample
from contract.errors import BadInput, Code
from controller.convert.estimator import addresses_columns, refuse_wrong
from controller.convert.precision import Judged, best_precision
from controller.convert.reference_answers import distinct_rows, own_answers, recorded_answers
from controller.convert.sample_frame import SampleFrame, read_sample
from controller.gates.parity import MIN_DISTINCT_ROWS


def judge_conversion(
    estimator: Any, sample: Sample, recorded: Recorded | None, *, budget_s: float, waived: bool = False
) -> Judged:
    """Returns the best form of an estimator.

    `recorded`: the answers of the user's own estimator, if it was alive at the push. `budget_s`: the time of each
    precision. `waived`: few distinct rows are enough. BadInput `estimator_unsupported`, `conversion_failed`,
    `conversion_limit`, `sample_refused`, `sample_too_small`.
    """
    refuse_wrong(estimator)
    named = addresses_columns(estimator)
    rows = read_sample(sample, named=named)
    if not waived:
        _refuse_few(rows)
    if recorded is None:
        reference = own_answers(estimator, rows, sample, __version__, named=named)
    else:
        reference = recorded_answers(recorded, rows, named=named)
    return best_precision(estimator, reference, budget_s)


def _refuse_few(rows: SampleFrame) -> None:
    count = distinct_rows(rows, MIN_DISTINCT_ROWS)
    if count < MIN_DISTINCT_ROWS:
        raise BadInput(
            Code.SAMPLE_TOO_SMALL,
            f"the sample has {count} distinct rows, parity needs {MIN_DISTINCT_ROWS}: pass more, or say with "
            "waive_rows why these are all there are",
        )
