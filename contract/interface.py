"""The parts of a model on which callers rely: the names, types and shapes of its inputs and outputs, and its columns.

Decides whether callers of one version can call another one unchanged. Refuses to know the consequences if they
cannot.
"""

from contract.manifest import Manifest, Tensor

CONVERTED = {("FP32", "FP64"), ("FP64", "FP32"), ("FP16", "FP64"), ("FP16", "FP32")}
"""Pairs (datatype in a request, datatype of the input) that the agent converts. FP64 is rounded to FP32, like the rows
by which the parity of the version was judged."""
MAX_NAMED = 3
"""The most differences that a sentence names: the first ones show the change."""


def interface_change(before: Manifest, after: Manifest) -> str:
    """Says in words how `after` differs for a caller of `before`; empty if it does not.

    Inputs are compared by name, because requests name them. An added output breaks no caller, and neither does an
    input of another floating-point type that the agent converts.
    """
    found = [*_tensors("input", before.inputs, after.inputs), *_tensors("output", before.outputs, after.outputs)]
    found += [f"input {tensor.name!r} is new" for tensor in _only_in(after.inputs, before.inputs)]
    if not found and before.columns != after.columns:
        found.append(_columns(before.columns, after.columns))
    if before.task != after.task:
        found.append(f"it is a {after.task}, not a {before.task}")
    more = f", and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return "; ".join(found[:MAX_NAMED]) + more


def _tensors(kind: str, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> list[str]:
    now = {tensor.name: tensor for tensor in after}
    found = []
    for tensor in before:
        other = now.get(tensor.name)
        if other is None:
            found.append(f"{kind} {tensor.name!r} is gone")
        elif other.shape != tensor.shape or not _is_taken(kind, tensor.datatype, other.datatype):
            found.append(f"{kind} {tensor.name!r} is {_described(other)}, it was {_described(tensor)}")
    return found


def _is_taken(kind: str, before: str, after: str) -> bool:
    return before == after or (kind == "input" and (before, after) in CONVERTED)


def _only_in(these: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> list[Tensor]:
    known = {tensor.name for tensor in others}
    return [tensor for tensor in these if tensor.name not in known]


def _described(tensor: Tensor) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}"


def _columns(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
    if not gone and not new:
        return "its columns come in another order"
    words = [f"without {', '.join(gone[:MAX_NAMED])}"] if gone else []
    words += [f"with {', '.join(new[:MAX_NAMED])}"] if new else []
    return f"its columns are {' and '.join(words)}"
