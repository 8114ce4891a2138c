"""A module or an exported program of PyTorch as a network.

Decides that it is called and exported in evaluation mode, without gradients, and then restored to its former mode.
Both of PyTorch's exporters are available: tracing with TorchDynamo (which needs onnxscript), and the older one,
which runs the module.
"""

import importlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array
from edgeward.networks.network import OPSET, Arrays, Exporter, flat

ROWS = "batch"
"""The name of the axis that counts rows."""


class TorchNetwork:
    """A live `torch.nn.Module`, a scripted one, or a `torch.export.ExportedProgram`."""

    libraries: tuple[str, ...] = ("torch",)

    def __init__(self, model: Any, given: tuple[str, ...] = ()) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._program = model if hasattr(model, "graph_signature") else None
        self._module = model.module() if self._program is not None else model
        self._scripted = hasattr(self._module.forward, "schema")
        self.name = type(model).__name__
        self.inputs = _names_of(self._module, given)
        self.batch = None if self._program is None else _fixed_batch(self._program)
        tensors = [*self._module.parameters(), *self._module.buffers()]
        self._real = next((each.dtype for each in tensors if each.is_floating_point()), self._torch.float32)
        self._device = next((each.device for each in tensors), "cpu")

    def typed(self, array: Array) -> Array:
        """Real numbers in the type of the weights, whole ones as int64, bools unchanged."""
        if array.dtype.kind != "f":
            return array.astype(np.int64) if array.dtype.kind in "iu" and array.dtype != np.uint8 else array
        return array.astype(np.float64 if self._real == self._torch.float64 else np.float32, copy=False)

    def ask(self, arrays: Mapping[str, Array]) -> Arrays:
        """The answers as arrays on the processor."""
        with self._evaluating():
            found = flat(self._module(**self._tensors(arrays)) if self._program is None else self._run(arrays))
        return {name: _plain(each) for name, each in found.items()}

    def exporters(self) -> Iterator[tuple[str, Exporter]]:
        """The exporter with TorchDynamo, which does not accept scripts, then the older one, which does not accept
        programs.
        """
        if not self._scripted:
            yield "torch.onnx.export(dynamo=True)", self._by_dynamo
        if self._program is None:
            yield "torch.onnx.export(dynamo=False)", self._by_running

    def _run(self, arrays: Mapping[str, Array]) -> Any:
        return self._module(*self._tensors(arrays).values())

    def _tensors(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {name: self._torch.tensor(arrays[name], device=self._device) for name in self.inputs}

    def _by_dynamo(self, few: Arrays) -> bytes:
        named = {"input_names": list(self.inputs), "output_names": list(self.ask(few)), "opset_version": OPSET}
        with self._evaluating():
            if self._program is not None:
                made = self._torch.onnx.export(self._program, dynamo=True, verbose=False, **named)
            else:
                axes = tuple({0: self._torch.export.Dim(ROWS)} for _ in self.inputs)
                made = self._torch.onnx.export(
                    self._flat(), tuple(self._tensors(few).values()), dynamo=True, verbose=False,
                    dynamic_shapes={"inputs": axes}, **named,
                )  # fmt: skip
        return bytes(made.model_proto.SerializeToString())

    def _by_running(self, few: Arrays) -> bytes:
        outputs, written = list(self.ask(few)), io.BytesIO()
        model, given = self._module if self._scripted else self._flat(), tuple(self._tensors(few).values())
        with self._evaluating():
            self._torch.onnx.export(
                model, given, written, dynamo=False, verbose=False,
                dynamic_axes={name: {0: ROWS} for name in (*self.inputs, *outputs)},
                input_names=list(self.inputs), output_names=outputs, opset_version=OPSET,
            )  # fmt: skip
        return written.getvalue()

    def _flat(self) -> Any:
        """The module with positional inputs and a tuple of outputs, which both exporters accept."""
        names, inner = self.inputs, self._module

        class Flat(self._torch.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, *inputs: Any) -> tuple[Any, ...]:
                return tuple(flat(self.inner(**dict(zip(names, inputs, strict=True)))).values())

        return Flat().eval()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """A context with every part in evaluation mode, without gradients and without warnings of the framework."""
        parts = list(self._module.modules()) if self._program is None else []
        before = [part.training for part in parts]
        logger, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
        try:
            for part in parts:
                part.training = False
            logger.setLevel(logging.ERROR)
            with warnings.catch_warnings(), self._torch.no_grad():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.setLevel(level)
            for part, training in zip(parts, before, strict=True):
                part.training = training


def _names_of(module: Any, given: tuple[str, ...]) -> tuple[str, ...]:
    """The inputs of `forward`: those that are `given`, or else those that have no default.

    BadInput `request_invalid` if it names no inputs.
    """
    if hasattr(module.forward, "schema"):  # a scripted module has its own signature
        arguments = [(each.name, each.has_default_value()) for each in module.forward.schema.arguments[1:]]
    else:
        found = inspect.signature(module.forward).parameters.values()
        arguments = [(each.name, each.default is not each.empty) for each in found if each.kind in _NAMED]
    names = tuple(name for name, _ in arguments if name in given)
    names = names if len(names) == len(given) > 0 else tuple(name for name, optional in arguments if not optional)
    if not names:
        words = f"forward of {type(module).__name__} names no inputs that have to be given: name them in the sample"
        raise BadInput(Code.REQUEST_INVALID, words)
    return names


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _fixed_batch(program: Any) -> int | None:
    """The number of rows for which a program was exported, if it takes no other."""
    given = set(program.graph_signature.user_inputs)
    sizes = [node.meta["val"].shape[0] for node in program.graph.nodes if node.name in given]
    fixed = {size for size in sizes if isinstance(size, int)}  # a symbol of a size has no hash
    return fixed.pop() if len(fixed) == 1 else None


def _plain(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
