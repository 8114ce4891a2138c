"""A pushed ONNX file in the form that devices accept: functions inlined, maps of classes removed, a fixed batch size
removed.

Decides that a fixed batch size is removed only if the changed model answers all rows together as the given one
answers them batch by batch. Parses what was pushed, so it is called only in the confined child; what it returns is
scanned again. Refuses to know who made the file.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper

from contract.errors import BadInput
from contract.golden import rows_differ
from contract.tensors import Array
from controller.convert import free_batch
from controller.convert.model_file import Model, bytes_of, parse_model, scan_model
from controller.convert.runs import open_session, run_rows

BATCH = "batch"
MAX_BATCHES = 8
"""The number of batches with which both models are compared: two sizes of a batch show what depends on it."""
RTOL = ATOL = 1e-5
"""A tolerance, because rows may be summed in another order than in batches."""


def as_devices_take(raw: Model) -> Model:
    """Returns a model that passes the scan. BadInput `model_refused` says what it may not hold; MemoryError."""
    try:
        scan = scan_model(raw)
    except BadInput:
        raw = _inlined(raw)
        scan = scan_model(raw)
    return _without_maps(raw) if "ZipMap" in scan.operators else raw


def _inlined(raw: Model) -> Model:
    """Returns the model without local functions; unchanged if it has none, or cannot be read."""
    try:
        model = parse_model(raw)
        if not model.functions:
            return raw
        model = inliner.inline_local_functions(model)
    except MemoryError:
        raise
    except Exception:  # protobuf and onnx raise their own errors; the scan says in words what is wrong
        return raw
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.functions[:]
    return bytes_of(model)


def _without_maps(raw: Model) -> bytes:
    """Returns the model without ZipMap at its outputs: the array of probabilities replaces the map."""
    model = parse_model(raw)
    maps = {node.output[0]: node for node in model.graph.node if node.op_type == "ZipMap"}
    maps = {name: node for name, node in maps.items() if any(entry.name == name for entry in model.graph.output)}
    outputs = list(model.graph.output)
    del model.graph.output[:]
    for entry in outputs:
        node = maps.get(entry.name)
        model.graph.output.append(entry if node is None else _array_of(node))
    for node in maps.values():
        model.graph.node.remove(node)
    return bytes_of(model)


def _array_of(node: onnx.NodeProto) -> onnx.ValueInfoProto:
    classes = max(len(attribute.ints) + len(attribute.strings) for attribute in node.attribute)
    return helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, [None, classes])


def takes_rows(session: Any, inputs: Mapping[str, Array]) -> bool:
    """Returns whether the first axis of every input has the size of the first axis of its array."""
    return all(len(entry.shape) == inputs[entry.name].ndim > 0 for entry in session.get_inputs())


def freed(model: Model, session: Any, inputs: Mapping[str, Array]) -> tuple[Model, Any]:
    """Returns (model, session) for any number of rows, if it gives the same answers as the model for a fixed number."""
    if not takes_rows(session, inputs):
        return model, session
    free = with_free_batch(model, session, inputs)
    return (model, session) if free is model else (free, open_session(free))


def with_free_batch(raw: Model, session: Any, inputs: Mapping[str, Array]) -> Model:
    """Returns a model for a fixed number of rows as one for any number; unchanged if that would change the answers.

    `session` is one of `raw`. `inputs`: rows by input name.
    """
    size = fixed_rows(session)
    if size is None or min(len(array) for array in inputs.values()) < 2 * size:
        return raw
    for free in (_by_what_is_left, free_batch.by_number_of_rows):
        made = _freed(raw, size, free)
        if _answers_alike(session, made, inputs, size):
            return made
        del made  # before the next is parsed: a large model is in memory twice at most
    return raw


def _freed(raw: Model, size: int, free: Callable[[onnx.ModelProto, int], None]) -> bytes:
    model = parse_model(raw)
    for entry in (*model.graph.input, *model.graph.output):
        dims = entry.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == size:
            dims[0].dim_param = BATCH
    del model.graph.value_info[:]
    free(model, size)
    return bytes_of(model)


def _by_what_is_left(model: onnx.ModelProto, size: int) -> None:
    """Changes constant shapes only, so that the graph gets no further nodes."""
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for name, tensor in free_batch.constants_of(model.graph).items():
        if name in shapes:
            _free_shape(tensor, size)
    free_batch.leave_out_zero_states(model.graph, size)


def _free_shape(tensor: onnx.TensorProto, size: int) -> None:
    """Makes the first axis of a constant shape dynamic if it is the size of the batch.

    If another axis is dynamic already, the first axis is copied from the input.
    """
    shape = numpy_helper.to_array(tensor)
    if shape.ndim == 1 and len(shape) > 1 and shape[0] == size:
        free = 0 if (shape == -1).any() else -1
        tensor.CopyFrom(numpy_helper.from_array(np.array([free, *shape[1:]], dtype=np.int64), tensor.name))


def fixed_rows(session: Any) -> int | None:
    """Returns the number of rows that a model takes at once, if all inputs name the same one; None: any."""
    sizes = {entry.shape[0] if entry.shape else None for entry in session.get_inputs()}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) and size > 0 else None


def as_runs(inputs: Mapping[str, Array], size: int) -> dict[str, Array]:
    """Returns the rows as runs of `size` rows, as devices send them; rows of an incomplete run are left out."""
    count = min(len(array) for array in inputs.values()) // size
    return {name: array[: count * size].reshape(count, size, *array.shape[1:]) for name, array in inputs.items()}


def _answers_alike(given: Any, freed: bytes, inputs: Mapping[str, Array], size: int) -> bool:
    """Returns whether the changed model answers all rows as the given one answers them in batches."""
    rows = min(MAX_BATCHES, min(len(array) for array in inputs.values()) // size) * size
    try:
        other = open_session(freed)
        names = [output.name for output in given.get_outputs()]
        together = run_rows(other, names, {name: array[:rows] for name, array in inputs.items()})
        for start in range(0, rows, size):
            part = {name: array[start : start + size] for name, array in inputs.items()}
            for want, got in zip(run_rows(given, names, part), together, strict=True):
                if len(got) != rows or rows_differ(want, got[start : start + size], rtol=RTOL, atol=ATOL).any():
                    return False
    except (BadInput, IndexError, TypeError):  # an operator needs the size, or an output does not count rows
        return False
    return True
