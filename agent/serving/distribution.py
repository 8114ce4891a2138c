"""How the inputs and answers of one version are distributed on this device: counts between edges from its golden set.

Decides which inferences are counted (the first few of each interval) and when. Refuses to know whether a distribution
has drifted and how many breaches are too many: counts are added across devices, and the controller judges them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array, Inputs
from contract.distributions import Edges, Reference, answers_of, columns_of, count, read_reference
from contract.manifest import Manifest
from contract.row_contract import BREACHES, Breaches, read_allowed

MAX_WAITING = 64
"""The most inferences that wait to be counted; others are skipped."""
MAX_ROWS = 16
"""Rows of one request that are counted."""

ByColumn = dict[str, tuple[int, ...]]


class Counts(msgspec.Struct, frozen=True):
    """The counts since the last call, with the names of `ModelInterval`."""

    features: ByColumn
    outputs: tuple[int, ...]
    breaches: ByColumn


class Distribution:
    """Counts for one version. `load` reads its golden set once, before the first count."""

    def __init__(self, manifest: Manifest, load: Callable[[], Mapping[str, Array]], lock: Any) -> None:
        self._manifest = manifest
        self._load = load
        self._lock = lock
        self._inputs = tuple(tensor.name for tensor in manifest.inputs) if manifest.columns else ()
        """Inputs whose rows are counted. Pictures and states are not counted or kept."""
        plain = all(1 <= len(tensor.shape) <= 2 for tensor in manifest.outputs[:2])
        self._outputs = 2 if plain else 0
        """Outputs that may hold a countable answer, or its probabilities."""
        self._reference: Reference | None = None
        self._waiting: list[tuple[list[Array], list[Array]]] = []
        self._features: dict[str, Array] = {}
        self._output: Array | None = None
        self._contract: dict[str, Breaches] = {}
        self._breaches: dict[str, list[int]] = {}

    def see(self, inputs: Inputs, outputs: list[Array]) -> None:
        """Queues an inference if the queue has room. Copies the first rows of arrays of shape (rows, ...)."""
        if len(self._waiting) < MAX_WAITING:
            rows = [inputs[name][:MAX_ROWS].copy() for name in self._inputs if inputs[name].ndim]
            answers = [array[:MAX_ROWS] if array.ndim else array for array in outputs[: self._outputs]]
            self._waiting.append((rows, answers))

    def count(self) -> None:
        """Counts the waiting inferences."""
        with self._lock:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            if self._reference is None:
                arrays = self._load()
                self._reference = read_reference(arrays, self._manifest)
                self._contract = _contract(arrays, self._reference, self._manifest)
            self._count(self._reference, batch)

    def _count(self, reference: Reference, batch: list[tuple[list[Array], list[Array]]]) -> None:
        """Counts column by column. Inferences of other widths or sizes are joined by column; if that fails, only
        these are not counted.
        """
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
                self._hold(name, pieces)
        if reference.output is not None and (counted := _counted(answers, reference.output)) is not None:
            self._output = counted if self._output is None else self._output + counted

    def _hold(self, name: str, pieces: list[Array]) -> None:
        """Compares the counted cells of one column with the data contract."""
        if (held := self._contract.get(name)) is None:
            return
        found = held.count(np.concatenate(pieces))
        if any(found):
            known = self._breaches.setdefault(name, [0] * len(BREACHES))
            self._breaches[name] = [before + more for before, more in zip(known, found, strict=True)]

    def take(self) -> Counts:
        """Returns counts per bin by column, counts per bin of the answers and breaches by column since the last
        call."""
        self.count()
        with self._lock:
            features, self._features = self._features, {}
            output, self._output = self._output, None
            breaches, self._breaches = self._breaches, {}
        return Counts(
            features={name: tuple(counts.tolist()) for name, counts in features.items()},
            outputs=() if output is None else tuple(output.tolist()),
            breaches={name: tuple(counts) for name, counts in breaches.items()},
        )


def _counted(pieces: list[Array], edges: Edges) -> Array | None:
    """Counts 1-D arrays of one column, any number of them; None if nothing can be counted."""
    if not pieces:
        return None
    try:
        return count(np.concatenate(pieces), edges)
    except (TypeError, ValueError):
        return None


def _contract(arrays: Mapping[str, Array], reference: Reference, manifest: Manifest) -> dict[str, Breaches]:
    """The data contract by column. Categories are checked if each category of the sample has its own bin."""
    found = {}
    for name, allowed in read_allowed(arrays, manifest.columns).items():
        edges, counts = reference.features.get(name), reference.feature_counts.get(name, ())
        named = edges is not None and edges.dtype.kind == "U" and len(counts) == len(edges) + 2 and not counts[-1]
        found[name] = Breaches(allowed, frozenset(edges.tolist()) if edges is not None and named else None)
    return found
