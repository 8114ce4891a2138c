"""Runs the evaluation child and reads its measurements.

Decides that a candidate which cannot answer is refused, and that a champion that cannot answer is left out. Refuses
to know the decisions of the gates.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.tensors import Array, decode_tensors
from contract.wire import decode, encode
from controller.convert.children import run_child
from controller.convert.memory import memory_for
from controller.convert.scratch import read_file, scratch_directory
from controller.evaluate import request as files
from controller.evaluate.request import CANDIDATE, CHAMPION, Evaluated, EvaluateRequest

MAX_ANSWER_MB = 64
"""The largest answer of the child: 2 million labels of 32 characters."""


@dataclass(frozen=True, slots=True)
class Form:
    """A model as the child gets it: its manifest, and the files of the model and of its golden set."""

    manifest: Manifest
    model: Path
    golden: Path


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measurements, and answers of shape (rows,): None without held-out rows."""

    measured: Evaluated
    answers: Array | None
    champion: Array | None


async def evaluate(
    candidate: Form, champion: Form | None, held_out: bytes | None, *, timeout_s: float, memory_mb: int
) -> Evaluation:
    """Evaluates a candidate, and the champion on the same held-out rows (as `request.read_rows` reads them).

    BadInput `sample_missing` if the candidate cannot answer them; `conversion_limit` if it takes too long.
    """
    forms = {CANDIDATE: candidate} | ({CHAMPION: champion} if champion is not None and held_out is not None else {})
    with scratch_directory() as directory:
        cpu_s = math.ceil(timeout_s) * (os.cpu_count() or 1)
        memory_mb = memory_for(max(form.manifest.artifact.length for form in forms.values()), memory_mb)
        request = EvaluateRequest(
            manifests={name: form.manifest for name, form in forms.items()},
            models={name: str(form.model.resolve()) for name, form in forms.items()},
            goldens={name: str(form.golden.resolve()) for name, form in forms.items()},
            memory_mb=memory_mb,
            cpu_s=cpu_s,
        )
        (directory / files.REQUEST).write_bytes(encode(request))
        if held_out is not None:
            (directory / files.ROWS).write_bytes(held_out)
        arguments = ("controller.evaluate.child", str(directory))
        await run_child(*arguments, directory=directory, timeout_s=timeout_s, allowed_mb=2 * memory_mb)
        measured = decode(read_file(directory / files.ANSWER, 1), Evaluated)
        answers = decode_tensors(read_file(directory / files.ANSWERS, MAX_ANSWER_MB))
    if fault := measured.faults.get(CANDIDATE):
        raise BadInput(Code.SAMPLE_MISSING, f"the version does not answer its held-out rows: {fault}")
    return Evaluation(measured, answers.get(CANDIDATE), answers.get(CHAMPION))


def numbers(labels: Array) -> Array:
    """Returns labels of a regression as float64. BadInput `tensors_invalid` for texts and missing ones."""
    try:
        found = labels.astype(np.float64)
    except ValueError as error:
        raise BadInput(Code.TENSORS_INVALID, f"labels of a regression are numbers: {error}") from None
    if not np.isfinite(found).all():
        raise BadInput(Code.TENSORS_INVALID, "labels of held-out rows have no gaps: leave rows without a label out")
    return found
