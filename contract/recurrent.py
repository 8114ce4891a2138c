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
from contract.manifest import DATATYPES, MAX_STREAMS, StateRules, StateTensor, Tensor
from contract.wire import Message

MAX_STATE_BYTES = 16 * 1024 * 1024
"""The limit of all streams of a model together: a small device needs this memory in addition to the model."""
MAX_LIST_CHARS = 300
"""The most characters of each of the two lists that a refusal names."""
MAX_INITIAL = Decimal(1_000_000)
"""The largest number, up or down, with which a state may begin."""


class StateAsked(Message, frozen=True):
    """The description of state in a push. `feeds` names by input the output that is its next value."""

    feeds: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=8)]
    initial: Decimal = Decimal(0)
    """The number in every place of a state before the first request."""
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
    kept = []
    for name, output in asked.feeds.items():
        if name not in taken or output not in given:
            raise _unfit(inputs, outputs, f"state {name!r} from {output!r}: one of them is not there")
        if words := _difference(taken[name], given[output]):
            raise _unfit(inputs, outputs, f"{output!r} cannot be the next {name!r}: {words}")
        kept.append(_kept(taken[name], given[output], asked.initial))
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
    return np.full(tensor.shape, float(tensor.initial), dtype=DATATYPES[tensor.datatype])


def _difference(wanted: Tensor, output: Tensor) -> str:
    if wanted.datatype == "BYTES" or wanted.datatype != output.datatype:
        return "types differ, or are text"
    if len(wanted.shape) != len(output.shape):
        return "ranks differ"
    pairs = zip(wanted.shape, output.shape, strict=True)
    return "sizes differ" if any(size != other and -1 not in (size, other) for size, other in pairs) else ""


def _kept(wanted: Tensor, output: Tensor, initial: Decimal) -> StateTensor:
    sizes = tuple(max(size, other, 1) for size, other in zip(wanted.shape, output.shape, strict=True))
    return StateTensor(input=wanted.name, output=output.name, datatype=wanted.datatype, shape=sizes, initial=initial)


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
