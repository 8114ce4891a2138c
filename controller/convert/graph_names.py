"""The inputs of a converted graph get the names of the sample's columns, and unused inputs are removed.

skl2onnx writes "Living_Area__m__" for "Living Area (m²)". Decides by position: skl2onnx keeps the order of the inputs.
"""

from collections.abc import Sequence

import onnx

from contract.errors import BadInput, Code


def without_unused_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model without the inputs that no node reads, so that no device must send a column that is dropped.

    One input stays, because a run without any input has no rows.
    """
    read = {name for node in model.graph.node for name in node.input}
    kept = [entry for entry in model.graph.input if entry.name in read] or list(model.graph.input)[:1]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def with_input_names(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Returns the model with these names of its inputs. BadInput `conversion_failed` if the number of inputs
    differs.
    """
    entries = list(model.graph.input)
    if len(entries) != len(names):
        words = f"the converter made {len(entries)} inputs of {len(names)} columns: leave out those that nothing uses"
        raise BadInput(Code.CONVERSION_FAILED, words)
    changed = {entry.name: name for entry, name in zip(entries, names, strict=True) if entry.name != name}
    if not changed:
        return model
    taken = {name for node in model.graph.node for name in node.output}
    if clashing := taken & set(changed.values()):
        words = f"the column {sorted(clashing)[0]!r} has the name of a part of the graph: give it another name"
        raise BadInput(Code.CONVERSION_FAILED, words)
    for entry in entries:
        entry.name = changed.get(entry.name, entry.name)
    for node in model.graph.node:
        node.input[:] = [changed.get(name, name) for name in node.input]
    return model
