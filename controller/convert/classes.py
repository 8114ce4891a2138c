"""The classes that a classifier can answer, as text: from the estimator that was pushed, or from the ONNX graph.

Decides that classes are known only if that is certain, and if they are few enough for a signed document. Labels of
other classes are refused, so a guess would do harm. Refuses to know labels.
"""

from typing import Any

import numpy as np

from contract.labels import plain_label
from contract.manifest import MAX_CLASSES, MAX_CLASSES_CHARS
from contract.tensors import Array
from controller.convert.model_file import Model, parse_model, size_of

MAX_PARSED_BYTES = 64 << 20
_PASSES_ON = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze"})
"""Operators that change the form of a label and not its meaning."""


def classes_of_estimator(estimator: Any) -> tuple[str, ...]:
    """Returns `classes_` as text; empty without any, and for several targets."""
    found = getattr(estimator, "classes_", None)
    try:
        classes = np.asarray(found)
    except ValueError:  # several targets with different numbers of classes
        return ()
    return _few([str(each) for each in classes.tolist()]) if found is not None and classes.ndim == 1 else ()


def classes_of_graph(model: Model) -> tuple[str, ...]:
    """Returns the classes of the classifier of `ai.onnx.ml` that gives the first output; empty without one.

    A model of more than `MAX_PARSED_BYTES` is a network, which has none: parsing it would take its size in memory
    again.
    """
    if size_of(model) > MAX_PARSED_BYTES:
        return ()
    graph = parse_model(model).graph
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in _PASSES_ON and node.input:
        node = makers.get(node.input[0])
    for attribute in node.attribute if node is not None else ():
        if attribute.name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
            names = [each.decode(errors="replace") for each in attribute.strings] or list(map(str, attribute.ints))
            if names:
                return _few(names)
    return ()


def certain(classes: tuple[str, ...], answers: Array) -> tuple[str, ...]:
    """Returns the classes if all answers, shape (rows, ...), are among them. Otherwise returns none: the graph has
    other answers than the classes that were read from it.
    """
    known = set(map(plain_label, classes))
    return classes if {plain_label(str(each)) for each in np.unique(answers).tolist()} <= known else ()


def _few(names: list[str]) -> tuple[str, ...]:
    few = len(names) <= MAX_CLASSES and sum(map(len, names)) <= MAX_CLASSES_CHARS
    return tuple(names) if few else ()
