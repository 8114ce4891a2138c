"""A model of Keras as a network, on any of its backends.

Decides that it is called in inference mode, and exported by Keras itself, which puts inputs and outputs with names
of a dict into the order of these names.
"""

import importlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array
from edgeward.networks.network import OPSET, Arrays, Exporter, flat


class KerasNetwork:
    """A live, built `keras.Model`."""

    batch: int | None = None

    def __init__(self, model: Any) -> None:
        self._keras: Any = importlib.import_module("keras")
        self._model = model
        self.name = type(model).__name__
        given = getattr(model, "inputs", None)
        if not given:
            words = (
                f"{self.name} names no inputs: make a keras.Model from keras.Input and its answer to it, and push that"
            )
            raise BadInput(Code.REQUEST_INVALID, words)
        by_name = getattr(model, "input", None)
        self._by_name = isinstance(by_name, Mapping)
        self.inputs = tuple(sorted(by_name)) if isinstance(by_name, Mapping) else tuple(_name(each) for each in given)
        self._types = [np.dtype(str(each.dtype)) for each in given]
        backend = str(self._keras.backend.backend())
        self.libraries: tuple[str, ...] = ("keras", backend)

    def typed(self, array: Array) -> Array:
        """Returns numbers in the type of the first input; whole numbers stay whole if an input takes them."""
        whole = next((each for each in self._types if each.kind in "iu"), None)
        return array.astype(whole if array.dtype.kind in "iu" and whole is not None else self._types[0], copy=False)

    def ask(self, arrays: Mapping[str, Array]) -> Arrays:
        """The answers of the model in inference mode."""
        given = [arrays[name] for name in self.inputs]
        listed = given[0] if len(given) == 1 else given
        answer = self._model(dict(arrays) if self._by_name else listed, training=False)
        answer = dict(sorted(answer.items())) if isinstance(answer, Mapping) else answer  # as Keras exports them
        return {name: np.asarray(self._keras.ops.convert_to_numpy(each)) for name, each in flat(answer).items()}

    def exporters(self) -> Iterator[tuple[str, Exporter]]:
        """Keras' own."""
        yield "model.export(format='onnx')", self._by_keras

    def _by_keras(self, few: Arrays) -> bytes:
        del few  # the exporter makes its own rows by the shapes of the inputs
        with tempfile.TemporaryDirectory(prefix="edgeward-keras-") as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(directory) / "model.onnx"
            self._model.export(str(path), format="onnx", verbose=False, opset_version=OPSET)
            return path.read_bytes()


def _name(tensor: Any) -> str:
    """The name of an input; an automatic name depends on a counter of the process, and would change."""
    name = str(tensor.name)
    return "input" if name.startswith("keras_tensor") else name
