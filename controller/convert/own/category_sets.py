"""Histogram gradient boosting that splits by sets of categories, as columns of 0 and 1 and trees of numbers.

Decides that each distinct set becomes one column: 0 if a row goes left, 1 if it goes right. A missing or unknown
category goes to the side of missing values, so that it needs no separate value. Refuses to know how trees are
written. Source of the rule: scikit-learn 1.9, ensemble/_hist_gradient_boosting/_predictor.pyx.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from contract.tensors import Array
from controller.convert.own.codes import number_among
from controller.convert.own.graph import Graph

MAX_SETS = 50_000
"""The most distinct sets of categories in one model: a row gets a number for each, so 50,000 take 200 kB a row."""
_BITS = 32
_MIDDLE = 0.5
"""The threshold between going left and going right."""


class CategorySets(BaseEstimator):
    """Columns of numbers unchanged, then one column for each set of categories."""

    def __init__(self, columns: Array, categories: list[Array], tables: list[Array]) -> None:
        self.columns = columns
        """Positions of the columns: first those of categories, then those of numbers."""
        self.categories = categories
        """The known categories of each column of categories, without a missing one."""
        self.tables = tables
        """For each of them uint8 (categories + 1, sets): whether a row goes right. The last row is for a missing or
        unknown category."""


@dataclass(frozen=True, slots=True)
class _Split:
    """A set of categories of one column, and the side of a missing one."""

    column: int
    left: bytes
    """A bitset of the codes that go left."""
    missing_left: bool


def splits_by_sets(model: Any) -> bool:
    """Whether histogram gradient boosting was fitted with columns of categories."""
    return getattr(model, "_preprocessor", None) is not None


def by_columns(model: Any) -> Pipeline:
    """Returns a boosting model with categories as two steps with the same answers: `CategorySets`, and trees of
    numbers.
    """
    encoder = model._preprocessor.named_transformers_["encoder"]
    categories = [_known(each) for each in encoder.categories_]
    numbers = model.n_features_in_ - len(categories)
    found: dict[_Split, int] = {}
    trees = copy.copy(model)
    trees._preprocessor = None
    trees._predictors = [
        [_with_numbers(predictor, found, numbers, len(categories)) for predictor in of_iteration]
        for of_iteration in model._predictors
    ]
    if len(found) > MAX_SETS:
        raise NotImplementedError(f"more than {MAX_SETS} sets of categories")
    by_column = sorted(found, key=lambda split: split.column)
    order = np.empty(len(found), dtype=np.int64)
    order[[found[split] for split in by_column]] = np.arange(len(found))
    _renumber(trees, order, numbers)
    of_each = [[split for split in by_column if split.column == at] for at in range(len(categories))]
    tables = [_table(splits, len(known)) for splits, known in zip(of_each, categories, strict=True)]
    mask = np.asarray(model.is_categorical_)
    columns = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
    trees.n_features_in_ = numbers + len(found)
    return Pipeline([("categories", CategorySets(columns, categories, tables)), ("trees", trees)])


def _known(categories: Array) -> Array:
    """Returns the categories without a missing one, which is the last: texts as text, others as numbers."""
    there = [each for each in categories.tolist() if each is not None and each == each]  # noqa: PLR0124 - NaN is not
    if any(isinstance(each, str) for each in there):
        return np.array(there, dtype=object)
    return np.array(there, dtype=np.float64)


def _with_numbers(predictor: Any, found: dict[_Split, int], numbers: int, categories: int) -> Any:
    """Returns a tree whose nodes test numbers: columns of numbers, then the sets in the order in which they appear."""
    made = copy.copy(predictor)
    nodes = made.nodes = predictor.nodes.copy()
    inner = nodes["is_leaf"] == 0
    sets = np.flatnonzero(inner & (nodes["is_categorical"] == 1))
    plain = inner & (nodes["is_categorical"] == 0)
    # no column of categories is compared with a threshold: every split of one is a set
    nodes["feature_idx"][plain] -= categories
    for node in sets:
        left = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]].tobytes()
        split = _Split(int(nodes["feature_idx"][node]), left, bool(nodes["missing_go_to_left"][node]))
        nodes["feature_idx"][node] = numbers + found.setdefault(split, len(found))
    nodes["num_threshold"][sets] = _MIDDLE
    return made


def _renumber(trees: Any, order: Array, numbers: int) -> None:
    """Gives the sets their places among the columns: those of one column are adjacent."""
    for predictor in (each for of_iteration in trees._predictors for each in of_iteration):
        nodes = predictor.nodes
        sets = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 1)
        nodes["feature_idx"][sets] = numbers + order[nodes["feature_idx"][sets] - numbers]
        nodes["is_categorical"] = 0


def _table(splits: list[_Split], categories: int) -> Array:
    table = np.ones((categories + 1, len(splits)), dtype=np.uint8)
    for number, split in enumerate(splits):
        words = np.frombuffer(split.left, dtype=np.uint32)
        codes = np.arange(categories)
        table[:-1, number] = (words[codes // _BITS] >> (codes % _BITS) & 1) == 0
        table[-1, number] = not split.missing_left
    return table


def sets_kept(model: CategorySets) -> int:
    """Returns the number of columns in the output of `CategorySets`."""
    return len(model.columns) - len(model.categories) + sum(int(table.shape[1]) for table in model.tables)


def category_sets(graph: Graph, model: CategorySets, given: list[Any]) -> list[str]:
    """Converts CategorySets: columns of numbers, then the rows of its tables."""
    columns = graph.columns(given)
    texts, numbers = model.columns[: len(model.categories)], model.columns[len(model.categories) :]
    made = [columns[at] for at in numbers]
    for at, categories, table in zip(texts, model.categories, model.tables, strict=True):
        if table.shape[1]:
            row = number_among(graph, columns[at], categories)
            made.append(graph.cast(graph.node("Gather", graph.bytes_of(table), row, axis=0), graph.kind))
    return [made[0] if len(made) == 1 else graph.node("Concat", *made, axis=1)]
