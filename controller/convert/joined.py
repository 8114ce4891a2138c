"""Joins two ONNX models to one graph: the outputs of the first are inputs of the second.

Decides how names of both stay different, and which versions of operators the one graph has. Only inputs of the first
and outputs of the second keep their names. `onnx.compose` is not used: it renames no initializer that a branch of an
`If` reads from outside. Refuses to know whether the two match: `contract.stages` does.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import onnx
from onnx import helper, version_converter

from contract.errors import BadInput, Code
from controller.convert.model_file import Model, bytes_of, parse_model

_FIRST, _SECOND = "first/", "second/"
ML = "ai.onnx.ml"


def join(first: Model, second: Model, feeds: Mapping[str, str], *, real: str = "") -> bytes:
    """Returns the one model. `feeds`: the output of the first by each input of the second. `real`: the dtype to
    which they are cast; empty: unchanged.

    BadInput `request_invalid` if both models have a name; `conversion_failed` where operators have no common
    version.
    """
    parts = _of_one_version(parse_model(first), parse_model(second))
    inputs, outputs = _inputs_of(parts[0].graph), list(parts[1].graph.output)
    kept = {entry.name for entry in inputs}, {entry.name for entry in outputs}
    if both := sorted(kept[0] & kept[1]):
        words = f"{both[0]!r} is an input of the first model and an output of the second: give one another name"
        raise BadInput(Code.REQUEST_INVALID, words)
    fed = {name: _away(output, _FIRST, kept[0]) for name, output in feeds.items()}
    _rename(parts[0].graph, lambda name: _away(name, _FIRST, kept[0]))
    _rename(parts[1].graph, lambda name: fed.get(name) or _away(name, _SECOND, kept[1]))
    nodes = list(parts[0].graph.node)
    if real:
        nodes += [_cast(name, real) for name in sorted(set(fed.values()))]
        _rename(parts[1].graph, lambda name: f"{name}/{real}" if name in fed.values() else name)
    return bytes_of(_one_graph(parts, nodes + list(parts[1].graph.node), inputs, outputs))


def _one_graph(
    parts: tuple[onnx.ModelProto, onnx.ModelProto], nodes: list[Any], inputs: list[Any], outputs: list[Any]
) -> onnx.ModelProto:
    needed = _needed(nodes, [entry.name for entry in outputs])
    weights = [each for part in parts for each in part.graph.initializer if each.name in needed]
    for entry in outputs:  # names of dimensions are valid only within one model
        for size in entry.type.tensor_type.shape.dim:
            if size.HasField("dim_param"):
                size.ClearField("dim_param")
    kept = [node for node in nodes if needed.intersection(node.output)]
    graph = helper.make_graph(kept, "model", inputs, outputs, weights)
    versions = {entry.domain: entry.version for part in parts for entry in part.opset_import}
    opsets = [helper.make_opsetid(domain, number) for domain, number in sorted(versions.items())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=max(part.ir_version for part in parts))


def _inputs_of(graph: onnx.GraphProto) -> list[Any]:
    """The inputs of a caller: older files list their weights among the inputs."""
    weights = {each.name for each in graph.initializer}
    return [entry for entry in graph.input if entry.name not in weights]


def _away(name: str, prefix: str, kept: set[str]) -> str:
    """A name that no other model has. An optional input that is left out has none."""
    return name if name in kept or not name else prefix + name


def _cast(name: str, real: str) -> onnx.NodeProto:
    kinds = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}
    return helper.make_node("Cast", [name], [f"{name}/{real}"], to=kinds[real])


def _rename(graph: onnx.GraphProto, named: Callable[[str], str]) -> None:
    """Renames every value of a graph, and of the graphs within it, which may read values from outside."""
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = named(entry.name)
    del graph.value_info[:]
    del graph.quantization_annotation[:]
    for node in graph.node:
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
        for inner in _graphs_of(node):
            _rename(inner, named)


def _graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _needed(nodes: list[Any], outputs: list[str]) -> set[str]:
    """The values that the outputs need; `nodes` are in the order in which they run."""
    needed = set(outputs)
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(_read_by(node))
    return needed


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that a node reads, in graphs within it too."""
    yield from node.input
    for graph in _graphs_of(node):
        yield from (entry.name for entry in graph.output)
        for inner in graph.node:
            yield from _read_by(inner)


def _of_one_version(first: onnx.ModelProto, second: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Both with the same versions of operators: the newer of each domain."""
    versions = [_versions_of(model) for model in (first, second)]
    for domain in versions[0].keys() & versions[1].keys():
        newest = max(each[domain] for each in versions)
        first, second = (_lifted(model, domain, newest) for model in (first, second))
    return first, second


def _versions_of(model: onnx.ModelProto) -> dict[str, int]:
    """The version of each domain; the domain of ONNX's own operators has two names."""
    found = {("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in found.items())
    return found


def _lifted(model: onnx.ModelProto, domain: str, newest: int) -> onnx.ModelProto:
    (entry,) = (each for each in model.opset_import if each.domain == domain)
    if entry.version == newest or domain not in ("", ML):
        return model
    changed = sorted({op for op in _operators(model.graph, domain) if _differs(op, domain, entry.version, newest)})
    if not changed:
        entry.version = newest
        return model
    words = f"{', '.join(changed)[:100]}: another meaning in version {newest} of the operators than in {entry.version}"
    if domain == ML:
        raise BadInput(Code.CONVERSION_FAILED, f"{words}: export both models with the same version of {ML}")
    try:
        return version_converter.convert_version(model, newest)
    except Exception as error:  # onnx raises its own errors, and RuntimeError, if it cannot convert
        told = f"{words}: export both models with the same opset ({type(error).__name__}: {error})"
        raise BadInput(Code.CONVERSION_FAILED, told[:400]) from None


def _operators(graph: onnx.GraphProto, domain: str) -> Iterator[str]:
    for node in graph.node:
        if ("" if node.domain == "ai.onnx" else node.domain) == domain:
            yield node.op_type
        for inner in _graphs_of(node):
            yield from _operators(inner, domain)


def _differs(operator: str, domain: str, before: int, after: int) -> bool:
    """Whether an operator has another meaning in another version."""
    try:
        found = [onnx.defs.get_schema(operator, number, domain).since_version for number in (before, after)]
    except onnx.defs.SchemaError:
        return True
    return bool(found[0] != found[1])
