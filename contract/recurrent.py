"""State that a device keeps between requests: which output of a model is its next input, as a push asks for it.

Decides whether the two fit, and how much memory all streams may take. Refuses to know how it is kept.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np

from contract.answers.session_tensors import described
from contract.errors import BadInput, Code
from contract.manifest import DATATYPES, MAX_BEGINS_BYTES, MAX_STREAMS, StateRules, StateTensor, Tensor
from contract.tensors import Array, decode_tensors
from contract.wire import Message

MAX_STATE_BYTES = 16 * 1024 * 1024
"""The limit of all streams of a model together: a small device needs this memory in addition to the model."""
MAX_LIST_CHARS = 300
"""The most characters of each of the two lists that a refusal names."""
MAX_INITIAL = Decimal(1_000_000)
"""The largest number, up or down, with which a state may begin."""


MAX_ARRAYS_BYTES = 96 * 1024
"""Of all arrays with which states begin, in the request of a push."""


class StateAsked(Message, frozen=True):
    """The description of state in a push. `feeds` names by input the output that is its next value."""

    feeds: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=8)]
    initial: Decimal = Decimal(0)
    """The number in every place of a state before the first request."""
    arrays: Annotated[bytes, msgspec.Meta(max_length=MAX_ARRAYS_BYTES)] = b""
    """Arrays as npz, by input: those states begin with them, and not with `initial`."""
    reset_after_s: Decimal = Decimal(0)
    max_keys: Annotated[int, msgspec.Meta(ge=1, le=MAX_STREAMS)] = 64


def state_of(
    asked: StateAsked, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[StateRules, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns (the rules, inputs that callers give, outputs that they get). BadInput `request_invalid` with both lists
    where an output cannot be the next input, and with figures where all streams would take too much memory.
    """
    given, taken = ({tensor.name: tensor for tensor in tensors} for tensors in (outputs, inputs))
    if not asked.initial.is_finite() or abs(asked.initial) > MAX_INITIAL:
        raise BadInput(Code.REQUEST_INVALID, f"state begins with {asked.initial}: pass a number up to {MAX_INITIAL}")
    if not asked.reset_after_s.is_finite() or asked.reset_after_s < 0:
        words = f"state begins anew after {asked.reset_after_s} s: pass seconds, or 0 for never"
        raise BadInput(Code.REQUEST_INVALID, words)
    begins = decode_tensors(asked.arrays) if asked.arrays else {}
    if unknown := begins.keys() - asked.feeds.keys():
        raise BadInput(
            Code.REQUEST_INVALID, f"an array for {min(unknown)!r}, which is no state: {', '.join(asked.feeds)}"
        )
    kept = []
    for name, output in asked.feeds.items():
        if name not in taken or output not in given:
            raise _unfit(inputs, outputs, f"state {name!r} from {output!r}: one of them is not there")
        if words := _difference(taken[name], given[output]):
            raise _unfit(inputs, outputs, f"{output!r} cannot be the next {name!r}: {words}")
        kept.append(_kept(taken[name], given[output], asked.initial, begins.get(name)))
    left = tuple(tensor for tensor in inputs if tensor.name not in asked.feeds)
    told = tuple(tensor for tensor in outputs if tensor.name not in asked.feeds.values())
    if not left or not told or told[0] != outputs[0]:
        words = "the first output must be the answer, and an input must be left for callers: state is neither"
        raise _unfit(inputs, outputs, words)
    rules = StateRules(tensors=tuple(kept), reset_after_s=asked.reset_after_s, max_keys=asked.max_keys)
    _refuse_large(rules)
    return rules, left, told


def initial_of(tensor: StateTensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    """Returns a state before the first request, of its shape and dtype."""
    if tensor.begins:
        little = np.dtype(DATATYPES[tensor.datatype]).newbyteorder("<")
        return np.frombuffer(tensor.begins, little).astype(DATATYPES[tensor.datatype]).reshape(tensor.shape)
    return np.full(tensor.shape, float(tensor.initial), dtype=DATATYPES[tensor.datatype])


def _difference(wanted: Tensor, output: Tensor) -> str:
    if wanted.datatype == "BYTES" or wanted.datatype != output.datatype:
        return "types differ, or are text"
    if len(wanted.shape) != len(output.shape):
        return "ranks differ"
    pairs = zip(wanted.shape, output.shape, strict=True)
    return "sizes differ" if any(size != other and -1 not in (size, other) for size, other in pairs) else ""


def _kept(wanted: Tensor, output: Tensor, initial: Decimal, begins: Array | None) -> StateTensor:
    """Returns the rule of one state. A dynamic dimension is as large as the array with which it begins, else 1."""
    sizes = tuple(max(pair) for pair in zip(wanted.shape, output.shape, strict=True))
    shape = tuple(max(size, 1) for size in sizes)
    raw = b""
    if begins is not None:
        if begins.ndim != len(sizes) or any(
            size not in (-1, had) for size, had in zip(sizes, begins.shape, strict=True)
        ):
            words = f"the array for {wanted.name!r} has shape {list(begins.shape)}; the model takes {list(sizes)}"
            raise BadInput(Code.REQUEST_INVALID, words)
        shape, raw = begins.shape, _stored(wanted, begins)
    return StateTensor(
        input=wanted.name, output=output.name, datatype=wanted.datatype, shape=shape, initial=initial, begins=raw
    )


def _stored(wanted: Tensor, begins: Array) -> bytes:
    """Returns an array as a manifest holds it. BadInput `request_invalid` unless its values are of the datatype."""
    little = np.dtype(DATATYPES[wanted.datatype]).newbyteorder("<")
    told = f"the array for {wanted.name!r}"
    with np.errstate(all="ignore"):
        cast = begins.astype(little) if begins.dtype.kind in "fiub" else None
    if cast is None or not cast.size or (little.kind == "f" and not np.isfinite(cast).all()):
        raise BadInput(Code.REQUEST_INVALID, f"{told} holds no finite numbers of {wanted.datatype}")
    if little.kind != "f" and not np.array_equal(cast, begins):
        raise BadInput(Code.REQUEST_INVALID, f"{told} holds numbers that are none of {wanted.datatype}")
    if cast.nbytes > MAX_BEGINS_BYTES:
        raise BadInput(Code.REQUEST_INVALID, f"{told} takes {cast.nbytes} bytes, limit {MAX_BEGINS_BYTES}")
    return cast.tobytes()


def bytes_of(rules: StateRules) -> int:
    """Returns the bytes of one stream's state."""
    return sum(
        int(np.prod(each.shape, dtype=np.int64)) * np.dtype(DATATYPES[each.datatype]).itemsize for each in rules.tensors
    )


def _refuse_large(rules: StateRules) -> None:
    size_bytes = bytes_of(rules)
    if size_bytes * rules.max_keys > MAX_STATE_BYTES:
        words = f"{rules.max_keys} streams of {size_bytes} bytes each take more than {MAX_STATE_BYTES >> 20} MiB"
        fits = MAX_STATE_BYTES // max(size_bytes, 1)
        raise BadInput(Code.REQUEST_INVALID, f"{words}: set max_keys to {fits} or less")


def _unfit(inputs: Sequence[Tensor], outputs: Sequence[Tensor], words: str) -> BadInput:
    sides = [", ".join(map(described, each))[:MAX_LIST_CHARS] for each in (inputs, outputs)]
    return BadInput(Code.REQUEST_INVALID, f"the model takes {sides[0]} and gives {sides[1]}. {words}")
