"""Runs a model in onnxruntime, with errors that name the cause.

Decides the options of a session: one thread, as on devices, and one copy of large weights. Refuses to know how
answers are compared.
"""

from typing import Any

import numpy as np
import onnxruntime as ort

from contract.errors import BadInput, Code
from contract.golden import answers
from contract.tensors import Array
from controller.convert.memory import is_memory_fault
from controller.convert.model_file import Model, size_of

LARGE_BYTES = 64 * 2**20
"""From this size on, weights are not packed again for the processor: for 1 GiB that takes a second GiB and 1.6 s.
Answers then differ from those of a device in the last digits, as they do between two processors."""


def open_session(model: Model) -> Any:
    """Returns a session. BadInput `conversion_failed` if onnxruntime refuses the model; MemoryError."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if size_of(model) >= LARGE_BYTES:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        if is_memory_fault(error):
            raise MemoryError from None
        raise BadInput(Code.CONVERSION_FAILED, f"onnxruntime refuses the model: {error}") from None


def run_rows(session: Any, names: list[str], inputs: dict[str, Array]) -> list[Array]:
    """Returns the outputs `names` for all rows, or for all runs.

    BadInput `conversion_failed` if the run fails, `estimator_unsupported` for a map; MemoryError.
    """
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    try:
        outputs = answers(lambda given: list(session.run(names, given)), inputs, ranks)
    except Exception as error:
        if is_memory_fault(error):
            raise MemoryError from None
        words = f"the sample does not run: {type(error).__name__}: {error}"
        raise BadInput(Code.CONVERSION_FAILED, words) from None
    if not all(isinstance(output, np.ndarray) for output in outputs):
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, "an output is a map or a sequence: convert with zipmap=False")
    return outputs
