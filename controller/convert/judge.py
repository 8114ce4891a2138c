"""From a fitted estimator and its sample to the ONNX form that answers as it does, with the evidence.

Decides the order: refuse what converts wrongly, find the reference answers, search the precision. Refuses to know
files and processes, so that tests convert in their own process.
"""

from dataclasses import replace
from typing import Any

from sklearn import __version__

from contract.answers.distinct import refuse_few
from contract.answers.recorded import Recorded, Sample
from controller.convert.estimator import addresses_columns, refuse_wrong, takes_texts
from controller.convert.precision import Judged, best_precision
from controller.convert.reference_answers import own_answers, recorded_answers
from controller.convert.sample_frame import read_sample


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
    rows = read_sample(sample, named=named)  # which refuses arrays of other ranks
    rows = replace(rows, texts_alone=takes_texts(estimator) and rows.text_columns == list(rows.columns[:1]))
    if not waived:
        refuse_few(sample)
    if recorded is None:
        reference = own_answers(estimator, rows, sample, __version__, named=named)
    else:
        reference = recorded_answers(recorded, rows, named=named)
    return best_precision(estimator, reference, budget_s)
