"""How the inputs and answers of one version are distributed on this device: counts between edges from its golden set.

Decides which inferences are counted (the first few of each interval) and when. Refuses to know
whether a distribution has drifted: counts add up across devices, and the controller judges them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agent.ports import Array, Inputs
from contract.distributions import Edges, Reference, answers_of, columns_of, count, read_reference
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
            rows = [inputs[name][:MAX_ROWS].copy() for name in self._inputs if inputs[name].ndim]
            answers = [array[:MAX_ROWS] if array.ndim else array for array in outputs[: self._outputs]]
            self._waiting.append((rows, answers))

    def count(self) -> None:
        """Counts what waits."""
        with self._lock:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            if self._reference is None:
                self._reference = read_reference(self._load(), self._manifest)
            self._count(self._reference, batch)

    def _count(self, reference: Reference, batch: list[tuple[list[Array], list[Array]]]) -> None:
        """Counts column by column: inferences of other widths or sizes are joined by column, or left out alone."""
        columns: dict[str, list[Array]] = {}
        answers: list[Array] = []
        regression = self._manifest.task == "regression"
        for inputs, outputs in batch:
            for name, column in columns_of(self._manifest.columns, inputs).items():
                columns.setdefault(name, []).append(column)
            if outputs and (found := answers_of(outputs, regression=regression)) is not None:
                answers.append(found)
        for name, pieces in columns.items():
            if (edges := reference.features.get(name)) is not None and (counted := _counted(pieces, edges)) is not None:
                self._features[name] = counted + self._features[name] if name in self._features else counted
        if reference.output is not None and (counted := _counted(answers, reference.output)) is not None:
            self._output = counted if self._output is None else self._output + counted

    def take(self) -> Counts:
        """Returns (counts per bin by column, counts per bin of the answers) since the last call."""
        self.count()
        with self._lock:
            features, self._features = self._features, {}
            output, self._output = self._output, None
        plain = {name: tuple(counts.tolist()) for name, counts in features.items()}
        return plain, () if output is None else tuple(output.tolist())


def _counted(pieces: list[Array], edges: Edges) -> Array | None:
    """Counts 1-D arrays of one column, any number of them; None where there is nothing, or nothing that can be told."""
    if not pieces:
        return None
    try:
        return count(np.concatenate(pieces), edges)
    except (TypeError, ValueError):
        return None
