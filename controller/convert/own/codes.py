"""Estimators that write a number or a text as codes: one-hot, bins, and means of the target.

Decides that a category is found by equality. Refuses, in float32, categories that are equal in float32 but not in
float64.
"""

from typing import Any

import numpy as np

from contract.tensors import Array
from controller.convert.own.graph import Graph
from controller.convert.own.rounding import rounded_up


def found_among(graph: Graph, column: str, categories: Array) -> str:
    """Returns 1 where a column (rows, 1) holds a category, else 0: reals (rows, categories)."""
    if categories.dtype.kind in "OUS":
        keys, numbers = [str(each) for each in categories], np.arange(len(categories))
        column = graph.node(
            "LabelEncoder", column, domain="ai.onnx.ml", keys_strings=keys, values_int64s=numbers.tolist(),
            default_int64=-1,
        )  # fmt: skip
        return graph.cast(graph.node("Equal", column, numbers[None]), graph.kind)
    real = categories.astype(np.float64)
    known = real[~np.isnan(real)]
    if len(np.unique(known.astype(graph.real))) < len(known):
        raise NotImplementedError(f"two categories are the same in {graph.real}")
    found = graph.cast(graph.node("Equal", column, real[None]), graph.kind)
    if np.isnan(real).any():
        missing = graph.cast(graph.node("IsNaN", column), graph.kind)
        found = graph.node("Add", found, graph.node("Mul", missing, np.isnan(real)[None].astype(float)))
    return found


def number_among(graph: Graph, column: str, categories: Array) -> str:
    """Returns the number of each row's category in a column (rows, 1); for an unknown category the number of
    categories: int64 (rows,).
    """
    if categories.dtype.kind in "OUS":
        keys = [str(each) for each in categories]
        if len(set(keys)) < len(keys):
            raise NotImplementedError("two categories are the same as text")
        number = graph.node(
            "LabelEncoder", column, domain="ai.onnx.ml", keys_strings=keys, values_int64s=list(range(len(keys))),
            default_int64=len(keys),
        )  # fmt: skip
        return graph.node("Squeeze", number, np.array([1]))
    found = found_among(graph, column, categories)
    return graph.first_of_most(graph.node("Concat", found, graph.rows_of(found, [0.5]), axis=1))


def takes_one_hot(model: Any) -> bool:
    """Whether a OneHotEncoder has categories of real numbers, or groups rare or unknown ones."""
    return groups_rare(model) or _of_reals(model)


def groups_rare(model: Any) -> bool:
    """Whether a OneHotEncoder groups rare categories, or puts unknown ones into that group."""
    return bool(getattr(model, "_infrequent_enabled", False)) or model.handle_unknown in ("infrequent_if_exist", "warn")


def _of_reals(model: Any) -> bool:
    kinds = {categories.dtype.kind for categories in model.categories_}
    return kinds <= set("fiu") and "f" in kinds


def one_hot(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """OneHotEncoder of real numbers, or of any categories if rare ones are grouped."""
    return _grouped(graph, model, given) if groups_rare(model) else _one_by_one(graph, model, given)


def _grouped(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    made = []
    for at, (column, categories) in enumerate(zip(graph.columns(given), model.categories_, strict=True)):
        if model._n_features_outs[at]:
            row = number_among(graph, column, categories)
            made.append(graph.cast(graph.node("Gather", graph.bytes_of(_rows_of(model, at)), row, axis=0), graph.kind))
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]


def _rows_of(model: Any, at: int) -> Array:
    """Returns what a OneHotEncoder answers to each category of a column, and last to an unknown one: (categories + 1,
    width).

    Source: scikit-learn 1.9, preprocessing/_encoders.py, `_map_infrequent_categories` and `transform`.
    """
    count, width = len(model.categories_[at]), model._n_features_outs[at]
    enabled = getattr(model, "_infrequent_enabled", False)
    rare = model._infrequent_indices[at] if enabled else None
    mapping = model._default_to_infrequent_mappings[at] if enabled else None
    numbers, there = np.arange(count + 1), np.r_[np.ones(count, dtype=bool), False]
    if rare is not None:
        numbers[-1], there[-1] = rare[0], model.handle_unknown in ("infrequent_if_exist", "warn")
    else:
        numbers[-1] = 0
    numbers = numbers if mapping is None else mapping[numbers]
    dropped = None if model._drop_idx_after_grouping is None else model._drop_idx_after_grouping[at]
    if dropped is not None:
        there &= numbers != dropped
        numbers = numbers - (numbers > dropped)
    rows = np.zeros((count + 1, width), dtype=np.uint8)
    rows[np.flatnonzero(there), numbers[there]] = 1
    return rows


def _one_by_one(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    dropped = model.drop_idx_ if model.drop_idx_ is not None else [None] * len(model.categories_)
    made = []
    for column, categories, without in zip(graph.columns(given), model.categories_, dropped, strict=True):
        found = found_among(graph, column, categories)
        kept = [number for number in range(len(categories)) if number != without]
        made += [found if len(kept) == len(categories) else graph.take(found, kept)] if kept else []
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]


def bins(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """KBinsDiscretizer: the number of the inner edges at or below, or one column for each bin."""
    made = []
    for column, edges in zip(graph.columns(given), model.bin_edges_, strict=True):
        inner = np.asarray(edges[1:-1], dtype=float)
        if len(inner):
            compared = inner if graph.double else rounded_up(inner)
            passed = graph.cast(graph.node("GreaterOrEqual", column, compared[None]), graph.kind)
            number = graph.reduce("ReduceSum", passed)
        else:
            number = graph.rows_of(column, [0.0])
        made.append(number if model.encode == "ordinal" else found_among(graph, number, np.arange(len(edges) - 1)))
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]


def bins_kept(model: Any) -> int:
    """The number of columns that a KBinsDiscretizer answers."""
    return len(model.n_bins_) if model.encode == "ordinal" else int(sum(model.n_bins_))


def target_means(graph: Graph, model: Any, given: list[Any]) -> list[str]:
    """TargetEncoder: the mean of the target of each category; that of all rows for an unknown one."""
    classes = len(model.classes_) if model.target_type_ == "multiclass" else 1
    mean = np.atleast_1d(np.asarray(model.target_mean_, dtype=float))
    made = []
    for number, (column, categories) in enumerate(zip(graph.columns(given), model.categories_, strict=True)):
        means = np.stack(model.encodings_[number * classes : (number + 1) * classes], axis=1)
        found = found_among(graph, column, categories)
        known = graph.node("Greater", graph.reduce("ReduceSum", found), 0.0)
        made.append(graph.node("Where", known, graph.node("MatMul", found, means), mean[None]))
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]


def means_kept(model: Any) -> int:
    """The number of columns that a TargetEncoder answers."""
    return len(model.encodings_)
