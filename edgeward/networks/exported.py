"""Exports a live network as ONNX with the same answers: each exporter is tried, and the first correct result is used.

Decides that the answers must agree for two numbers of rows other than the exported one: this shows a fixed number
of rows or a fixed branch in the graph. Refuses to know a framework.
"""

import textwrap
from importlib.util import find_spec
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.golden import rows_differ
from contract.tensors import Array
from contract.tolerance import RESOLUTION, tolerance
from edgeward.networks.network import Arrays, Network, ask_in_batches, filled_up, rows_in

EXPORTED_ROWS = 2
"""Rows that the exporters run: PyTorch treats 0 and 1 as fixed numbers."""
TRIED_ROWS = (1, 7)
MAX_WORDS = 300
IR_VERSION = 8
"""The IR version: sufficient for opset 18, and every onnxruntime of a fleet loads it (docs/adr/0002)."""
REMEDY = (
    "choose between values by where() and not by if, because branches that depend on data or on the number of rows "
    "are lost; or export it yourself, and push the .onnx file"
)
NEEDED = ("onnx", "onnxruntime", "onnxscript")
"""Packages that write ONNX and run it, which the client does not install by itself."""
INSTALL = "pip install 'edgeward[{}]'"


def onnx_of(network: Network, arrays: Arrays, answers: Arrays) -> bytes:
    """Returns ONNX of a network. `answers` are its own answers to the rows `arrays`, for the comparison.

    BadInput `config_invalid` names a missing package, `conversion_failed` the error of each exporter.
    """
    _refuse_missing(network)
    few = {name: filled_up(array, network.batch or EXPORTED_ROWS) for name, array in arrays.items()}
    said = []
    for name, export in network.exporters():
        try:
            raw = _as_devices_take(export(few), network.inputs, tuple(answers))
            differing = _differing(raw, network, arrays, answers)
        except Exception as error:  # exporters raise any exception; the next one may succeed
            cause = error.__cause__ or error  # PyTorch adds general advice to the message
            said.append(f"{name} fails with {type(cause).__name__}: {cause}")
            continue
        if not differing:
            return raw
        said.append(f"{name} answers {differing}")
    tried = "; ".join(textwrap.shorten(words, MAX_WORDS, placeholder=" ...") for words in said)
    words = f"no ONNX of {network.name} answers as it does: {tried}. Remedy: {REMEDY}"
    raise BadInput(Code.CONVERSION_FAILED, words)


def _refuse_missing(network: Network) -> None:
    """Raises BadInput `config_invalid` with the command that installs the missing packages."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        command = INSTALL.format("keras" if "keras" in network.libraries else "torch")
        words = f"{network.name} becomes ONNX here, which needs {', '.join(missing)}: {command}"
        raise BadInput(Code.CONFIG_INVALID, words)


def _as_devices_take(raw: bytes, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
    """The model with its inputs and outputs named as the network's, and without paths of the user's code."""
    import onnx

    model = onnx.load_from_string(raw)
    _rename(model.graph, {entry.name: name for entry, name in zip(model.graph.input, inputs, strict=True)})
    _rename(model.graph, {entry.name: name for entry, name in zip(model.graph.output, outputs, strict=True)})
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.graph.name, model.doc_string = "model", ""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    return bytes(model.SerializeToString())


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Gives values of a graph other names, at each place where they are made or used."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - set(names)
    names |= {name: f"{name}_inner" for name in taken & set(names.values())}
    for node in graph.node:
        node.input[:] = [names.get(each, each) for each in node.input]
        node.output[:] = [names.get(each, each) for each in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, dict(names))
    for entry in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        entry.name = names.get(entry.name, entry.name)


def _differing(raw: bytes, network: Network, arrays: Arrays, answers: Arrays) -> str:
    """Says which rows the exported model answers differently; empty if there are none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    allowed = {name: tolerance(each, alone=False) if each.dtype.kind == "f" else 0.0 for name, each in answers.items()}
    for rows in (network.batch,) if network.batch else TRIED_ROWS:
        given = {name: filled_up(array, rows) for name, array in arrays.items()}
        want = ask_in_batches(network, given)
        got = dict(zip(want, session.run(list(want), _read(session, given)), strict=True))
        differing = [_differ(want[name], got[name], allowed[name]) for name in want]
        if any(each.any() for each in differing):
            return f"{int(np.logical_or.reduce(differing).sum())} of {rows_in(given)} rows otherwise"
    return ""


def _read(session: Any, given: Arrays) -> Arrays:
    """The arrays that the exported model reads: an input without effect is left out by exporters."""
    names = {entry.name for entry in session.get_inputs()}
    return {name: array for name, array in given.items() if name in names}


def _differ(want: Array, got: Array, atol: Any) -> Array:
    if want.ndim == 0 or got.shape[:1] != want.shape[:1]:
        return np.ones(1, dtype=bool)
    return rows_differ(want, got, rtol=RESOLUTION, atol=atol)
