"""How the inputs and answers of one version are distributed on this device: counts between edges from its golden set.

Decides which inferences are counted (the first few of each interval) and when. Refuses to know
whether a distribution has drifted: counts add up across devices, and the controller judges them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agent.ports import Array, Inputs
from contract.distributions import Reference, answers_of, columns_of, count, read_reference
from contract.manifest import Manifest

MAX_WAITING = 64
"""Inferences that wait to be counted; others are skipped until then."""
MAX_ROWS = 16
"""Of one request."""

Counts = tuple[dict[str, tuple[int, ...]], tuple[int, ...]]


class Distribution:
    """Counts for one version. `load` reads its golden set once, when there is something to count."""

    def __init__(self, manifest: Manifest, load: Callable[[], Mapping[str, Array]], lock: Any) -> None:
        self._manifest = manifest
        self._load = load
        self._lock = lock
        self._inputs = tuple(tensor.name for tensor in manifest.inputs) if manifest.columns else ()
        """Whose rows are counted: of pictures and states nothing is, and nothing is kept."""
        plain = all(1 <= len(tensor.shape) <= 2 for tensor in manifest.outputs[:2])
        self._outputs = 2 if plain else 0
        """Outputs that may hold an answer to be counted, or its probabilities."""
        self._reference: Reference | None = None
        self._waiting: list[tuple[list[Array], list[Array]]] = []
        self._features: dict[str, Array] = {}
        self._output: Array | None = None

    def see(self, inputs: Inputs, outputs: list[Array]) -> None:
        """Takes an inference, if there is room. Of arrays of shape (rows, ...) the first rows are copied."""
        if len(self._waiting) < MAX_WAITING:
            rows = [inputs[name][:MAX_ROWS].copy() for name in self._inputs]
            self._waiting.append((rows, [array[:MAX_ROWS] for array in outputs[: self._outputs]]))

    def count(self) -> None:
        """Counts what waits."""
        with self._lock:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            if self._reference is None:
                self._reference = read_reference(self._load(), self._manifest)
            inputs = _joined([given for given, _ in batch])
            outputs = _joined([answered for _, answered in batch])
            self._count(self._reference, inputs, outputs)

    def _count(self, reference: Reference, inputs: list[Array], outputs: list[Array]) -> None:
        for name, column in columns_of(self._manifest.columns, inputs).items():
            if (edges := reference.features.get(name)) is not None:
                counted = count(column, edges)
                self._features[name] = counted + self._features[name] if name in self._features else counted
        answers = answers_of(outputs, regression=self._manifest.task == "regression") if outputs else None
        if answers is not None and reference.output is not None:
            counted = count(answers, reference.output)
            self._output = counted if self._output is None else self._output + counted

    def take(self) -> Counts:
        """Returns (counts per bin by column, counts per bin of the answers) since the last call."""
        self.count()
        with self._lock:
            features, self._features = self._features, {}
            output, self._output = self._output, None
        plain = {name: tuple(counts.tolist()) for name, counts in features.items()}
        return plain, () if output is None else tuple(output.tolist())


def _joined(rows: list[list[Array]]) -> list[Array]:
    """Concatenates the arrays of several inferences by rows, input by input."""
    return [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]
