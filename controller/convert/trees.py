"""Rewrites tree ensembles to the compact operator of ai.onnx.ml 5. The older operator keeps a string for every node.

These strings ("BRANCH_LEQ") make up most of a forest's file and of its memory while it loads. They also take most of
the time for which freeing a session holds the interpreter (figures in docs/adr/0009). Decides which ensembles the new
operator can express. If one cannot be expressed, the whole model stays unchanged, because opset 5 no longer has the old
operators. Parity is judged afterwards. Sources: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html; for the
scores of binary classifiers, onnxruntime's core/providers/cpu/ml/tree_ensemble_aggregator.h.
"""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
OPSET = 5
MIN_NODES = 2_000
"""The smallest number of nodes that is rewritten. Smaller ensembles gain nothing, and each operator around the new one
costs half a microsecond a row."""
MAX_COPIED_NODES = 300_000
"""The most nodes of an ensemble of which each tree is repeated for each class: about 6 MB, ten times that in memory."""
_OLD = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_MAKE_FLOATS = ("Scaler", "Normalizer", "OneHotEncoder", "FeatureVectorizer")
_MODES = {b"BRANCH_LEQ": 0, b"BRANCH_LT": 1, b"BRANCH_GTE": 2, b"BRANCH_GT": 3, b"BRANCH_EQ": 4, b"BRANCH_NEQ": 5}
_AGGREGATES = {b"AVERAGE": 0, b"SUM": 1}
_DTYPES: dict[int, np.dtype[Any]] = {TensorProto.FLOAT: np.dtype(np.float32), TensorProto.DOUBLE: np.dtype(np.float64)}

Ints = NDArray[np.int64]


class _Unsayable(Exception):
    """Raised for an ensemble that the new operator cannot express."""


def compact_trees(model: onnx.ModelProto, unknown: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """Returns the model with its ensembles in the new operator; the model itself if that is impossible or gains
    nothing.

    Ensembles with double thresholds answer only in this form: the old operator sums in float32, and skl2onnx continues
    in double, so such models do not load. `unknown`: the element type of sums whose type cannot be inferred.
    """
    old = [node for node in model.graph.node if node.op_type in _OLD]
    types, declared = _types(model), _declared(model)
    double = any(types.get(node.input[0]) == TensorProto.DOUBLE for node in old)
    small = sum(_size(node) for node in old) < MIN_NODES and not double
    if small or not all(_survives(node) for node in model.graph.node):
        return model
    try:
        nodes = [
            made
            for node in model.graph.node
            for made in (_rewritten(node, types, declared, unknown) if node.op_type in _OLD else (node,))
        ]
    except _Unsayable:
        return _with_casts(model, declared, unknown) if double else model
    compact = onnx.ModelProto()
    compact.CopyFrom(model)
    del compact.graph.node[:]
    compact.graph.node.extend(nodes)
    for entry in compact.opset_import:
        if entry.domain == ML:
            entry.version = OPSET
    return compact


def _with_casts(model: onnx.ModelProto, declared: dict[str, int], unknown: int) -> onnx.ModelProto:
    """Returns the model with the sums of the old operator, which are float32, cast to the type in which
    it continues.
    """
    cast = onnx.ModelProto()
    cast.CopyFrom(model)
    del cast.graph.node[:]
    for node in model.graph.node:
        cast.graph.node.append(node)
        if node.op_type in _OLD and (to := declared.get(node.output[-1], unknown)) != TensorProto.FLOAT:
            name = node.output[-1]
            cast.graph.node[-1].output[-1] = f"{name}_float32"
            cast.graph.node.append(helper.make_node("Cast", [f"{name}_float32"], [name], to=to))
    return cast


def _size(node: onnx.NodeProto) -> int:
    return next((len(given.ints) for given in node.attribute if given.name == "nodes_treeids"), 0)


def _survives(node: onnx.NodeProto) -> bool:
    """Tells whether a node has the same meaning in the newer opset, or will be rewritten."""
    if node.domain != ML or node.op_type in _OLD:
        return True
    schema = onnx.defs.get_schema(node.op_type, OPSET, ML)
    return not schema.deprecated and all(given.name in schema.attributes for given in node.attribute)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the element types by tensor name, as far as they can be inferred. onnx does not infer those of
    ai.onnx.ml.
    """
    known = onnx.ModelProto()
    known.CopyFrom(model)
    made = [name for node in model.graph.node if node.op_type in _MAKE_FLOATS for name in node.output]
    known.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made)
    graph = onnx.shape_inference.infer_shapes(known).graph
    return {entry.name: entry.type.tensor_type.elem_type for entry in (*graph.input, *graph.value_info)}


def _declared(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the element types of the model's outputs."""
    return {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.output}


def _rewritten(
    node: onnx.NodeProto, types: dict[str, int], declared: dict[str, int], unknown: int
) -> Iterator[onnx.NodeProto]:
    dtype = _DTYPES.get(types.get(node.input[0], 0))
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if dtype is None:
        raise _Unsayable
    to = TensorProto.FLOAT if dtype == np.float32 else declared.get(node.output[-1], unknown)
    if node.op_type == "TreeEnsembleRegressor":
        yield from _regressor(node, given, dtype, to)
    else:
        yield from _classifier(node, given, dtype, to)


def _regressor(node: onnx.NodeProto, given: dict[str, Any], dtype: np.dtype[Any], to: int) -> Iterator[onnx.NodeProto]:
    aggregate = _AGGREGATES.get(given.get("aggregate_function", b"SUM"))
    if aggregate is None or given.get("post_transform", b"NONE") != b"NONE":
        raise _Unsayable
    targets = int(given["n_targets"])
    leaves = _Leaves(_Places(given), given, "target", dtype, targets)
    sums = {"n_targets": targets, "aggregate_function": aggregate}
    score = yield from _scored(node, given, leaves, sums)
    yield helper.make_node("Cast", [score], [node.output[0]], to=to)


def _classifier(node: onnx.NodeProto, given: dict[str, Any], dtype: np.dtype[Any], to: int) -> Iterator[onnx.NodeProto]:
    label, probabilities = node.output
    leaves = _Leaves(_Places(given), given, "class", dtype)
    classes = given.get("classlabels_int64s") or given.get("classlabels_strings") or []
    post = given.get("post_transform", b"NONE")
    binary = len(classes) == 2 and len(set(leaves.targets.tolist())) == 1
    if binary:
        leaves.targets = np.zeros_like(leaves.targets)
    sums = {"n_targets": 1 if binary else len(classes), "aggregate_function": _AGGREGATES[b"SUM"]}
    score = yield from _scored(node, given, leaves, sums)
    named = f"{node.name or label}_probabilities"
    yield from _of_two(score, named, post, leaves) if binary else _of_many(score, named, post)
    yield helper.make_node("Cast", [named], [probabilities], to=to)
    yield from _named_class(named, label, classes)


def _of_two(score: str, out: str, post: bytes, leaves: "_Leaves") -> Iterator[onnx.NodeProto]:
    """Yields nodes that make the probabilities of both classes from one score.

    If all weights are positive, onnxruntime reads the score as the probability of the second class. Otherwise it reads
    the score as a margin whose sign decides.
    """
    positive = bool((leaves.weights >= 0).all())
    if post == b"NONE" and positive:
        yield _constant(f"{out}_one", np.ones(1, leaves.weights.dtype))
        yield helper.make_node("Sub", [f"{out}_one", score], [f"{out}_first"])
        yield helper.make_node("Concat", [f"{out}_first", score], [out], axis=1)
    elif post == b"LOGISTIC" and not positive:
        yield helper.make_node("Neg", [score], [f"{out}_margin"])
        yield helper.make_node("Concat", [f"{out}_margin", score], [f"{out}_margins"], axis=1)
        yield helper.make_node("Sigmoid", [f"{out}_margins"], [out])
    else:
        raise _Unsayable


def _of_many(score: str, out: str, post: bytes) -> Iterator[onnx.NodeProto]:
    if post not in (b"NONE", b"SOFTMAX"):
        raise _Unsayable
    kind, extra = ("Softmax", {"axis": 1}) if post == b"SOFTMAX" else ("Identity", {})
    yield helper.make_node(kind, [score], [out], **extra)


def _named_class(probabilities: str, label: str, classes: list[Any]) -> Iterator[onnx.NodeProto]:
    if list(classes) == list(range(len(classes))):
        yield helper.make_node("ArgMax", [probabilities], [label], axis=1, keepdims=0)
        return
    names = np.array(classes, np.int64) if isinstance(classes[0], int) else np.array(classes, object)
    yield _constant(f"{label}_classes", names)
    yield helper.make_node("ArgMax", [probabilities], [f"{label}_index"], axis=1, keepdims=0)
    yield helper.make_node("Gather", [f"{label}_classes", f"{label}_index"], [label])


def _scored(
    node: onnx.NodeProto, given: dict[str, Any], leaves: "_Leaves", sums: dict[str, int]
) -> Generator[onnx.NodeProto, None, str]:
    """Yields the ensemble and the addition of its base values. Returns the name of the resulting tensor."""
    score, dtype = f"{node.name or node.output[0]}_score", leaves.weights.dtype
    base = _values(given, "base_values", dtype)
    if base.size not in (0, sums["n_targets"]):
        raise _Unsayable
    summed = f"{score}_sum" if base.size else score
    attributes = (
        _structure(leaves.places, given, dtype, leaves.copies) | leaves.attributes() | sums | {"post_transform": 0}
    )
    yield helper.make_node("TreeEnsemble", [node.input[0]], [summed], domain=ML, **attributes)
    if base.size:
        yield _constant(f"{score}_base", base)
        yield helper.make_node("Add", [summed, f"{score}_base"], [score])
    return score


class _Places:
    """The places of the nodes. The old layout has one list of branches and leaves; the new one has two lists."""

    def __init__(self, given: dict[str, Any]) -> None:
        trees, numbers = np.array(given["nodes_treeids"]), np.array(given["nodes_nodeids"])
        self.leaf = np.array(given["nodes_modes"], object) == b"LEAF"
        starts = np.flatnonzero(np.r_[True, trees[1:] != trees[:-1]])
        lengths = np.diff(np.r_[starts, len(trees)])
        if len(set(trees[starts].tolist())) != len(starts) or (numbers != _counting(lengths)).any():
            raise _Unsayable  # nodes of a tree that are scattered or not numbered in order
        if self.leaf[starts].any():
            raise _Unsayable  # a tree that is a single leaf
        self.roots = starts
        self.start_of = dict(zip(trees[starts].tolist(), starts.tolist(), strict=True))
        self.base = np.repeat(starts, lengths)
        self.index = np.where(self.leaf, np.cumsum(self.leaf), np.cumsum(~self.leaf)) - 1


class _Leaves:
    """One target and one weight for each leaf.

    A leaf that votes for several classes cannot be expressed. In float64 its tree is repeated, once for each of the
    `targets`: the old operator would round the sums to float32.
    """

    def __init__(
        self, places: _Places, given: dict[str, Any], kind: str, dtype: np.dtype[Any], targets: int = 1
    ) -> None:
        self.places, self.copies = places, 1
        trees, numbers = given[f"{kind}_treeids"], np.array(given[f"{kind}_nodeids"])
        at = np.array([places.start_of[tree] for tree in trees]) + numbers
        order = places.index[at]
        count = int(places.leaf.sum())
        ids, weights = np.array(given[f"{kind}_ids"], np.int64), _values(given, f"{kind}_weights", dtype)
        if not places.leaf[at].all():
            raise _Unsayable
        if len(at) > count and dtype == np.float64 and targets * len(places.leaf) <= MAX_COPIED_NODES:
            order, self.copies = order + count * ids, targets
        size = count * self.copies
        if self.copies == 1 and (len(at) != count or len(np.unique(order)) != count):
            raise _Unsayable
        self.targets, self.weights = np.repeat(np.arange(self.copies), count), np.zeros(size, dtype)
        if self.copies == 1:
            self.targets[order] = ids
        np.add.at(self.weights, order, weights)

    def attributes(self) -> dict[str, Any]:
        return {
            "leaf_targetids": self.targets.tolist(),
            "leaf_weights": numpy_helper.from_array(self.weights, "leaf_weights"),
        }


def _structure(places: _Places, given: dict[str, Any], dtype: np.dtype[Any], copies: int) -> dict[str, Any]:
    """Returns the nodes and roots of all trees. With several copies, all trees of the first copy come first."""
    branch = np.flatnonzero(~places.leaf)
    true = (places.base + np.array(given["nodes_truenodeids"]))[branch]
    false = (places.base + np.array(given["nodes_falsenodeids"]))[branch]
    modes = np.array([_MODES[mode] for mode in np.array(given["nodes_modes"], object)[branch]], np.uint8)
    branches, leaves = len(branch), int(places.leaf.sum())

    def moved(ids: Ints, leafs: NDArray[np.bool_]) -> list[int]:
        """The places of nodes in each copy."""
        steps = np.where(leafs, leaves, branches)
        return list((ids + np.arange(copies)[:, None] * steps).ravel().tolist())

    def values(name: str) -> NDArray[Any]:
        return np.tile(_values(given, name, dtype)[branch], copies)

    roots = places.index[places.roots]
    found = {
        "tree_roots": moved(roots, np.zeros(len(roots), dtype=bool)),
        "nodes_featureids": np.tile(np.array(given["nodes_featureids"])[branch], copies).tolist(),
        "nodes_splits": numpy_helper.from_array(values("nodes_values"), "nodes_splits"),
        "nodes_modes": numpy_helper.from_array(np.tile(modes, copies), "nodes_modes"),
        "nodes_truenodeids": moved(places.index[true], places.leaf[true]),
        "nodes_trueleafs": np.tile(places.leaf[true].astype(int), copies).tolist(),
        "nodes_falsenodeids": moved(places.index[false], places.leaf[false]),
        "nodes_falseleafs": np.tile(places.leaf[false].astype(int), copies).tolist(),
    }
    missing = np.array(given.get("nodes_missing_value_tracks_true") or [], np.int64)
    tracks = np.tile(missing[branch], copies).tolist() if missing.any() else []
    return found | ({"nodes_missing_value_tracks_true": tracks} if tracks else {})


def _values(given: dict[str, Any], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns the numbers that the old operator keeps in a list or, since version 3, in a tensor."""
    tensor = given.get(f"{name}_as_tensor")
    found = numpy_helper.to_array(tensor) if tensor is not None else np.array(given.get(name) or [], np.float32)
    return found.astype(dtype)


def _constant(name: str, value: NDArray[Any]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _counting(lengths: Ints) -> Ints:
    """Returns 0, 1, 2, ... up to each length in turn."""
    ends = np.cumsum(lengths)
    counting: Ints = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return counting
