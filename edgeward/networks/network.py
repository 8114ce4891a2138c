"""The interface of a live network for a push: names of its inputs, answers to arrays, and exports as ONNX.

Decides by the names of its classes whether a model is a network, and calls it in batches. Never imports a
framework: a caller with such a model has done so.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array

BATCH_ROWS = 64
"""Rows that a network answers at once: of pictures of 600 kB these are 40 MB, and it makes several copies."""
OPSET = 18
"""The newest opset that every onnxruntime of a fleet runs (docs/adr/0002)."""

Arrays = dict[str, Array]
Exporter = Callable[[Arrays], bytes]
"""Returns ONNX for any number of rows, made with a few example rows; raises what the framework raises."""


class Network(Protocol):
    """A live model of a framework."""

    name: str
    """The name of its class, for people."""
    inputs: tuple[str, ...]
    batch: int | None
    """The number of rows that it takes at once; None: any."""
    libraries: tuple[str, ...]
    """The packages that answer."""

    def typed(self, array: Array) -> Array:
        """An array in the type that the network takes."""
        ...

    def ask(self, arrays: Mapping[str, Array]) -> Arrays:
        """The answers to rows by name of the output. Raises what the framework raises."""
        ...

    def exporters(self) -> Iterator[tuple[str, Exporter]]:
        """Each way to write it as ONNX, by name, the best one first."""
        ...


def network_of(model: Any, sample: Any = None) -> Network | None:
    """Returns a live model of PyTorch or Keras as a network; None for anything else.

    The names in a sample of arrays by name tell which optional inputs of a module are used.
    """
    if isinstance(model, type):
        return None
    kinds = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(model).__mro__}
    if "keras.Model" in kinds:  # with PyTorch as backend a Keras model is a Module too
        from edgeward.networks.keras_network import KerasNetwork

        return KerasNetwork(model)
    if kinds & {"torch.Module", "torch.ExportedProgram"}:
        from edgeward.networks.torch_network import TorchNetwork

        return TorchNetwork(model, tuple(sample) if isinstance(sample, Mapping) else ())
    return None


def ask_in_batches(network: Network, arrays: Mapping[str, Array]) -> Arrays:
    """Returns the answers to all rows. Raises what the framework raises."""
    count, each = rows_in(arrays), network.batch or BATCH_ROWS
    parts = []
    for start in range(0, count, each):
        stop = min(start + each, count)
        filled = each if network.batch else stop - start  # a fixed batch is filled up with rows again
        part = {name: np.resize(array[start:stop], (filled, *array.shape[1:])) for name, array in arrays.items()}
        parts.append({name: answer[: stop - start] for name, answer in network.ask(part).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def filled_up(array: Array, rows: int) -> Array:
    """Returns this number of rows of an array; if it has fewer, rows are repeated from the first one on."""
    return np.asarray(np.resize(array, (rows, *array.shape[1:])))


def rows_in(arrays: Mapping[str, Array]) -> int:
    """The number of rows of arrays, whose first axes count them."""
    return len(next(iter(arrays.values())))


def flat(answer: Any) -> dict[str, Any]:
    """Returns the outputs of a network by name: the keys of a mapping, `output_0` and so on for several tensors,
    `output` for one.
    """
    if hasattr(answer, "shape"):
        return {"output": answer}
    named = dict(answer) if hasattr(answer, "keys") else {f"output_{place}": each for place, each in enumerate(answer)}
    named = {str(name): each for name, each in named.items() if each is not None}
    wrong = [name for name, each in named.items() if not hasattr(each, "shape")]
    if wrong:
        words = f"the network's answer {wrong[0]} is no tensor: return tensors, or a dict of them"
        raise BadInput(Code.REQUEST_INVALID, words)
    return named
