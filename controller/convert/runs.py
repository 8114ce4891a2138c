"""Runs of a model in onnxruntime, with errors that say whose fault they are.

Decides the options of a session: one thread, as on devices. Refuses to know what is compared.
"""

from typing import Any

import numpy as np
import onnxruntime as ort

from contract.errors import BadInput, Code
from contract.golden import answers
from contract.tensors import Array


def open_session(model: bytes) -> Any:
    """Returns a session. BadInput `conversion_failed` if onnxruntime refuses the model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BadInput(Code.CONVERSION_FAILED, f"onnxruntime refuses the model: {error}") from None


def run_rows(session: Any, names: list[str], inputs: dict[str, Array]) -> list[Array]:
    """Returns the outputs `names` for all rows, or for all runs.

    BadInput `conversion_failed` if the run fails, `estimator_unsupported` for a map.
    """
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    try:
        outputs = answers(lambda given: list(session.run(names, given)), inputs, ranks)
    except Exception as error:
        words = f"the sample does not run: {type(error).__name__}: {error}"
        raise BadInput(Code.CONVERSION_FAILED, words) from None
    if not all(isinstance(output, np.ndarray) for output in outputs):
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, "an output is a map or a sequence: convert with zipmap=False")
    return outputs
