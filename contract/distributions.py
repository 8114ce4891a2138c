"""Histograms with edges from the golden set, so that the counts of the sample and of all devices can be added.

Decides bins and which bin a value belongs to. The edges and the reference's own counts are in the golden set, so they
are signed with the model. Refuses to know when a difference between two histograms matters.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from contract.manifest import Manifest
from contract.protocol import MAX_BINS, MAX_FEATURES
from contract.tensors import Array

QUANTILES = 10
MAX_CATEGORIES = MAX_BINS - 2
DIVERGENCE_EDGES = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
"""Upper edges of the distance between two versions' answers; a last bin is open. For a classifier the largest
difference of a probability, for a regression the difference relative to stable's answer."""
CONFIDENCE_EDGES = (0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
"""Finer towards 1, where most confidences lie: their distribution there tells how often a model is right."""

_NUMBERS, _CATEGORIES, _REFERENCE = "edges/", "categories/", "reference/"
_OUTPUT = "output"
_FEATURE = "feature/"

Edges = Array
"""Ascending numbers of shape (k,), or names of categories of shape (k,)."""


class Reference(msgspec.Struct, frozen=True):
    """The distribution of inputs and answers in the sample that the model was converted with."""

    features: Mapping[str, Edges]
    output: Edges | None
    feature_counts: Mapping[str, tuple[int, ...]]
    output_counts: tuple[int, ...]


def edges_of(values: Array) -> Edges:
    """Returns edges for a sample of one column: deciles of numbers, the most frequent categories of text."""
    if values.dtype.kind in "OUS":
        names, counts = np.unique(values.astype(np.str_), return_counts=True)
        return np.asarray(np.sort(names[np.argsort(-counts, kind="stable")][:MAX_CATEGORIES]))
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.zeros(0)
    inner = np.quantile(finite, np.linspace(0, 1, QUANTILES + 1)[1:-1])
    return np.asarray(np.unique(inner))


def count(values: Array, edges: Edges) -> Array:
    """Returns counts per bin, shape (1 + k + 1,): missing, then up to each edge (or each category), then the rest."""
    if edges.dtype.kind == "U":
        words = values.astype(np.str_)
        places = {name: at + 1 for at, name in enumerate(edges.tolist())}
        bins = np.array([places.get(word, len(places) + 1) for word in words.tolist()], dtype=np.int64)
    else:
        numbers = values.astype(np.float64)
        bins = np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers) + 1)
    return np.bincount(bins, minlength=len(edges) + 2)


def columns_of(manifest_columns: Sequence[str], arrays: Sequence[Array]) -> dict[str, Array]:
    """Returns rows by column, the first `MAX_FEATURES`: of one matrix, or of one input for each column;
    {} for neither.
    """
    if len(arrays) == 1 and arrays[0].ndim == 2 and arrays[0].shape[1] == len(manifest_columns):
        return {name: arrays[0][:, at] for at, name in enumerate(manifest_columns[:MAX_FEATURES])}
    if len(arrays) == len(manifest_columns) and all(array.ndim == 2 and array.shape[1] == 1 for array in arrays):
        return {name: array[:, 0] for name, array in zip(manifest_columns[:MAX_FEATURES], arrays, strict=False)}
    return {}


def answers_of(outputs: Sequence[Array], *, regression: bool) -> Array | None:
    """Returns the numbers that are counted of answers, shape (rows,), or None if there are none. For a regression the
    answers, for a classifier the confidence.
    """
    if regression:
        first = outputs[0]
        return first.reshape(len(first), -1)[:, 0] if first.ndim and first.size and first.dtype.kind in "fiu" else None
    if len(outputs) > 1 and outputs[1].ndim == 2 and outputs[1].size and outputs[1].dtype.kind == "f":
        return np.asarray(outputs[1].max(axis=1))
    return None


def reference_of(columns: Mapping[str, Array], answers: Array | None, *, regression: bool) -> dict[str, Array]:
    """Returns arrays for the golden set, from the sample that the model was converted with."""
    arrays: dict[str, Array] = {}
    edges = {_FEATURE + name: edges_of(values) for name, values in columns.items()}
    values = {_FEATURE + name: column for name, column in columns.items()}
    if answers is not None:
        edges[_OUTPUT] = edges_of(answers) if regression else np.array(CONFIDENCE_EDGES)
        values[_OUTPUT] = answers
    for name, found in edges.items():
        arrays[(_CATEGORIES if found.dtype.kind == "U" else _NUMBERS) + name] = found
        arrays[_REFERENCE + name] = count(values[name], found)
    return arrays


def read_reference(arrays: Mapping[str, Array], manifest: Manifest) -> Reference:
    """Returns the reference in a golden set. Of an older set, or one that was made differently, returns
    what there is.
    """
    names = {name: _FEATURE + name for name in manifest.columns[:MAX_FEATURES]}
    features = {name: edges for name, key in names.items() if (edges := _edges(arrays, key)) is not None}
    counts = {name: _counts(arrays, _FEATURE + name) for name in features}
    return Reference(features, _edges(arrays, _OUTPUT), counts, _counts(arrays, _OUTPUT))


def _edges(arrays: Mapping[str, Array], key: str) -> Edges | None:
    found = next((arrays[kind + key] for kind in (_NUMBERS, _CATEGORIES) if kind + key in arrays), None)
    usable = found is not None and found.ndim == 1 and len(found) <= MAX_CATEGORIES and found.dtype.kind in "fU"
    return found if usable else None


def _counts(arrays: Mapping[str, Array], key: str) -> tuple[int, ...]:
    found = arrays.get(_REFERENCE + key)
    return () if found is None else tuple(int(number) for number in found.reshape(-1)[:MAX_BINS])
