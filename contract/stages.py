"""Two models in a row, from one push: which output of the first is which input of the second.

Decides whether the second accepts the outputs of the first, and how both are written into one set of arrays.
Refuses to know how they are run or joined.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from contract.answers.session_tensors import described
from contract.errors import BadInput, Code
from contract.manifest import Tensor
from contract.model_size import refuse_large
from contract.protocol import MAX_MODEL_BYTES, MAX_TENSORS_BYTES
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.wire import Message, decode, encode

MAX_LIST_CHARS = 300
"""The most characters of each of the two lists that a refusal names."""
MAX_NAME_CHARS = 64
MATRIX = "X"
"""The name of the one input of an estimator, which has no names for inputs."""
_HEAD, _FIRST, _SECOND, _RECORDED, _ANSWER = "stages", "model/1", "model/2", "recorded", "answer/"


class StagesHead(Message, frozen=True):
    """The description of two models, without their bytes."""

    names: tuple[str, str]
    """The origin of each: a file's name, or an estimator's type."""
    second: Literal["skops", "onnx"]
    """The kind of the second; the first is ONNX."""
    feeds: dict[str, str] = {}
    """The output of the first for each input of the second, if their names differ."""
    answered_by: str = ""
    """The versions of the libraries where the models were pushed."""


class Stages(Message, frozen=True):
    """Two models in a row, and their answers where they were pushed."""

    head: StagesHead
    first: bytes
    second: bytes
    recorded: bytes = b""
    """For a live estimator: the answers of the first to the sample, with the estimator's answers to them
    (`recorded`)."""
    answers: dict[str, Array] = {}
    """For ONNX: the answers of both models in a row to the sample, by output name."""


def encode_stages(stages: Stages) -> bytes:
    """Returns one set of arrays that holds both models. BadInput `message_too_large`."""
    refuse_large(len(stages.first) + len(stages.second), "the two models together")
    parts = {_HEAD: encode(stages.head), _FIRST: stages.first, _SECOND: stages.second, _RECORDED: stages.recorded}
    arrays = {name: np.frombuffer(raw, dtype=np.uint8) for name, raw in parts.items()}
    return encode_tensors(arrays | {_ANSWER + name: array for name, array in stages.answers.items()})


def decode_stages(raw: bytes) -> Stages:
    """Returns the argument of `encode_stages`. BadInput `tensors_invalid`, `message_malformed`."""
    arrays = decode_tensors(raw, max_bytes=MAX_MODEL_BYTES + MAX_TENSORS_BYTES)
    missing = [name for name in (_HEAD, _FIRST, _SECOND, _RECORDED) if name not in arrays]
    if missing:
        raise BadInput(Code.TENSORS_INVALID, f"two models in a row lack {', '.join(missing)}")
    return Stages(
        head=decode(arrays[_HEAD].tobytes(), StagesHead),
        first=arrays[_FIRST].tobytes(),
        second=arrays[_SECOND].tobytes(),
        recorded=arrays[_RECORDED].tobytes(),
        answers={name.removeprefix(_ANSWER): array for name, array in arrays.items() if name.startswith(_ANSWER)},
    )


def match_stages(outputs: Sequence[Tensor], inputs: Sequence[Tensor], feeds: Mapping[str, str]) -> dict[str, str]:
    """Returns the output of the first model by each input of the second: the one that `feeds` names, else the one of
    the same name. BadInput `request_invalid` with both lists where names, types, ranks or sizes do not match.
    """
    given, taken = ({tensor.name: tensor for tensor in tensors} for tensors in (outputs, inputs))
    unknown = [name for name in feeds if name not in taken] + [name for name in feeds.values() if name not in given]
    if unknown:
        raise _unfit(outputs, inputs, f"feeds names {unknown[0]!r}, which is neither")
    found = {name: feeds.get(name, name) for name in taken}
    if unfed := [name for name, output in found.items() if output not in given]:
        told = f"nothing feeds {unfed[0]!r}: say which output does, as {_example(unfed[0], outputs[0].name)}"
        raise _unfit(outputs, inputs, told)
    for name, output in found.items():
        if (words := _difference(given[output], taken[name])) is not None:
            raise _unfit(outputs, inputs, f"{output!r} cannot feed {name!r}: {words}")
    return found


def match_matrix(outputs: Sequence[Tensor], feeds: Mapping[str, str]) -> dict[str, str]:
    """Returns the output of the first model that is the matrix of an estimator: the one that `feeds` names, else the
    only one. BadInput `request_invalid` with both sides.
    """
    wanted = Tensor(name=MATRIX, datatype="FP32", shape=(-1, -1))
    if unknown := [name for name in feeds if name != MATRIX]:
        raise _unfit(outputs, [wanted], f"feeds names {unknown[0]!r}: an estimator takes one matrix, {MATRIX!r}")
    if not feeds and len(outputs) > 1:
        raise _unfit(outputs, [wanted], f"say which is the matrix, as {_example(MATRIX, outputs[0].name)}")
    chosen = feeds.get(MATRIX, outputs[0].name)
    found = next((tensor for tensor in outputs if tensor.name == chosen), None)
    if found is None:
        raise _unfit(outputs, [wanted], f"feeds names {chosen!r}, which is no output")
    if len(found.shape) != 2 or found.datatype == "BYTES":
        raise _unfit(outputs, [wanted], f"{chosen!r} is no matrix of numbers, (rows, features)")
    return {MATRIX: chosen}


def _example(name: str, output: str) -> str:
    return f"feeds={{{name!r}: {output!r}}}, or --feed {name}={output}"


def _difference(output: Tensor, wanted: Tensor) -> str | None:
    if output.datatype != wanted.datatype:
        return f"{output.datatype} is not {wanted.datatype}"
    if len(output.shape) != len(wanted.shape):
        return f"it has {len(output.shape)} axes, not {len(wanted.shape)}"
    for axis, (size, other) in enumerate(zip(output.shape, wanted.shape, strict=True)):
        if axis and size != other and -1 not in (size, other):  # the first counts rows: it is freed where it can be
            return f"axis {axis} is {size}, not {other}"
    return None


def _unfit(outputs: Sequence[Tensor], inputs: Sequence[Tensor], words: str) -> BadInput:
    sides = (", ".join(map(described, each))[:MAX_LIST_CHARS] for each in (outputs, inputs))
    gives, takes = sides
    return BadInput(Code.REQUEST_INVALID, f"the first model gives {gives}; the second takes {takes}. {words}")
