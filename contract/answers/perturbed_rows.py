"""Rows that test a model outside its sample: missing cells, unknown texts, thresholds, numbers far from the mean.

Decides which rows are made, by the kind of each column. The same sample gives the same rows. Refuses to know models:
the thresholds of trees are handed in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from contract.answers.cells import is_exact_in_float32, is_number, is_real, is_text, missing_cell, missing_cells
from contract.tensors import Array

BOUNDARY, THRESHOLD, INTEGERS, ZERO, FAR_OUT = "boundary", "threshold", "integers", "zero", "far out"
NEXT_NUMBER = "next number"
UNKNOWN_TEXT, EMPTY_TEXT, AWKWARD_TEXT = "unknown text", "empty text", "punctuation and accents"
LACKING_NUMBERS = ("lacks one number", "lacks two numbers", "lacks half", "lacks all numbers", "lacks as the sample")
LACKING_TEXT = "lacks one text"

MAX_BOUNDARY_ROWS = 500
MAX_ROWS = 64
"""The most rows of each other kind: with them the slowest usual estimator, a forest of 500 trees, answers in two
seconds."""
MAX_COLUMNS = 64
"""Columns that are tested one by one with a missing cell, or with an unknown text."""
FAR = (10.0, 1000.0)
"""Distances from the mean, in standard deviations."""
NEAR_IN_FLOAT64 = 0.5
"""The fraction of numbers at thresholds that are tried at neighbours in float64; the rest lie at those in float32."""
AWKWARD = ("{}!", "É{}", "{}-{}", "don't {}, naïve café", "  {} ", "{}\t№5", "{}'s", "_{}_", "ÀÇ ß {} 日本", "{}, {}.")
"""Texts made from one in the sample, for which programs differ in splitting words and in upper and lower case."""

Columns = dict[str, Array]
"""Arrays of shape (rows,) by name: numbers, or text with None or NaN for a missing cell."""


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Rows in the form of the sample, and the kind of each: texts of shape (rows,)."""

    rows: Array | Columns
    kinds: Array


def perturb(
    sample: Array | Mapping[str, Array], thresholds: Mapping[int, Array] | None = None, seed: int = 0
) -> Perturbed:
    """Returns rows made from a matrix (rows, features) or from columns (rows,) by name.

    `thresholds`: by position of a column, the numbers at which trees split it.
    """
    columns = _columns(sample)
    made = list(_made(columns, thresholds or {}, np.random.default_rng(seed)))
    kinds = np.concatenate([np.full(_length(rows), kind) for kind, rows in made])
    joined = {name: _join([rows[name] for _, rows in made]) for name in columns}
    if isinstance(sample, np.ndarray):
        return Perturbed(np.stack([joined[name] for name in columns], axis=1).astype(_kept(sample.dtype, made)), kinds)
    return Perturbed(joined, kinds)


def runs_of(perturbed: Perturbed) -> list[list[tuple[int, int]]]:
    """Returns the groups of rows in two runs: first those without cells that the test removed, then those with such
    cells.

    Most estimators answer the first run as a whole, and all or none of the second.
    """
    lacking = np.isin(perturbed.kinds, (*LACKING_NUMBERS, LACKING_TEXT))
    groups = groups_of(perturbed)
    return [[group for group in groups if bool(lacking[group[0]]) is lacks] for lacks in (False, True)]


def groups_of(perturbed: Perturbed) -> list[tuple[int, int]]:
    """Returns (start, stop) of rows that an estimator answers or refuses together: of one kind, with the same missing
    number.
    """
    kinds, count = perturbed.kinds, len(perturbed.kinds)
    if not count:
        return []
    columns = _columns(perturbed.rows)
    lacks = np.stack([missing_cells(column) for column in columns.values() if is_number(column)] or [kinds == ""])
    other = (lacks[:, 1:] != lacks[:, :-1]).any(axis=0) & (kinds[1:] == LACKING_NUMBERS[0])
    starts = np.flatnonzero(np.r_[True, (kinds[1:] != kinds[:-1]) | other])
    return list(zip(starts.tolist(), [*starts[1:].tolist(), count], strict=True))


def _made(columns: Columns, thresholds: Mapping[int, Array], rng: np.random.Generator) -> Iterator[tuple[str, Columns]]:
    yield BOUNDARY, _between(columns, rng)
    if thresholds:
        yield THRESHOLD, _at_thresholds(columns, thresholds, rng)
    inexact = [name for name, column in columns.items() if is_real(column) and not is_exact_in_float32(column)]
    if inexact:
        yield NEXT_NUMBER, _next_numbers(columns, inexact, rng)
    numbers = [name for name, column in columns.items() if is_number(column)]
    if numbers:
        yield ZERO, _replaced(_drawn(columns, 1, rng), {name: np.zeros(1) for name in numbers})
        yield FAR_OUT, _far_out(columns, numbers, rng)
    integers = [name for name in numbers if not is_real(columns[name]) and columns[name].dtype.kind != "b"]
    if integers:
        yield INTEGERS, _beyond(columns, integers, rng)
    texts = [name for name, column in columns.items() if is_text(column)][:MAX_COLUMNS]
    if texts:
        yield from _other_texts(columns, texts, rng)
    yield from _lacking(columns, [name for name in numbers if is_real(columns[name])], texts, rng)


def _between(columns: Columns, rng: np.random.Generator) -> Columns:
    """Rows whose real numbers lie midway between neighbouring values of their column, where trees have thresholds."""
    rows = _drawn(columns, min(MAX_BOUNDARY_ROWS, 4 * _length(columns)), rng)
    for name, column in columns.items():
        if is_real(column) and (middles := _middles(column)).size:
            rows[name] = _readable(rng.choice(middles, size=_length(rows)), column)
    return rows


def _readable(numbers: Array, column: Array) -> Array:
    """Returns numbers in the type of a column, in float32 if the column's own numbers are: a sensor that reads in such
    steps never sends others.
    """
    narrow = numbers.astype(np.float32) if is_exact_in_float32(column) else numbers
    return narrow.astype(column.dtype)


def _middles(column: Array) -> Array:
    values = np.unique(column[np.isfinite(column)])
    middles: Array = values[:-1] + (values[1:] - values[:-1]) / 2
    return middles


def _at_thresholds(columns: Columns, thresholds: Mapping[int, Array], rng: np.random.Generator) -> Columns:
    """Rows whose real numbers lie at a threshold or beside it: at its neighbours in float32, which devices can tell
    apart, and in float64 if the column's numbers need it.
    """
    rows = _drawn(columns, MAX_BOUNDARY_ROWS, rng)
    for position, name in enumerate(columns):
        at = thresholds.get(position)
        if at is None or not at.size or not is_real(columns[name]):
            continue
        drawn, side = rng.choice(at, size=MAX_BOUNDARY_ROWS), rng.integers(-1, 2, MAX_BOUNDARY_ROWS)
        with np.errstate(over="ignore"):
            narrow = _beside(drawn.astype(np.float32), side)
        near = np.where(rng.random(MAX_BOUNDARY_ROWS) < NEAR_IN_FLOAT64, _beside(drawn, side), narrow)
        rows[name] = _readable(near, columns[name])
    return rows


def _beside(numbers: Array, side: Array) -> Array:
    """Returns the next number below, the number itself or the next one above, for sides of -1, 0 and 1."""
    ends = np.where(side < 0, -np.inf, np.inf).astype(numbers.dtype)
    return np.where(side == 0, numbers, np.nextafter(numbers, ends))


def _next_numbers(columns: Columns, names: list[str], rng: np.random.Generator) -> Columns:
    """Rows of the sample whose numbers are replaced by the next one in float64, up or down: the same reading, computed
    in another order.
    """
    rows = _drawn(columns, MAX_ROWS, rng)
    for name in names:
        rows[name] = np.nextafter(rows[name], rng.choice((-np.inf, np.inf), MAX_ROWS))
    return rows


def _far_out(columns: Columns, numbers: list[str], rng: np.random.Generator) -> Columns:
    """Rows with one number far from its mean, then rows with all numbers far from their means."""
    rows = _drawn(columns, MAX_ROWS, rng)
    for number, name in enumerate(numbers):
        column = columns[name].astype(np.float64)
        kept = column[np.isfinite(column)]
        if not kept.size or columns[name].dtype.kind == "b":
            continue
        far = rng.choice(FAR, MAX_ROWS) * rng.choice((-1.0, 1.0), MAX_ROWS) * (kept.std() or 1.0) + kept.mean()
        place = np.arange(MAX_ROWS)
        here = (place >= MAX_ROWS // 2) | (place % len(numbers) == number)
        rows[name] = np.where(here, _as(far, columns[name]), rows[name]).astype(columns[name].dtype)
    return rows


def _beyond(columns: Columns, integers: list[str], rng: np.random.Generator) -> Columns:
    """Rows whose integers the sample does not have: between its values, and just outside their range."""
    rows = _drawn(columns, MAX_ROWS, rng)
    for name in integers:
        values = np.unique(columns[name]).astype(np.float64)
        between = np.setdiff1d(np.floor(_middles(values)), values)
        others = np.concatenate([between, [values[0] - 1, values[-1] + 1, values[-1] + 7]])
        rows[name] = _as(rng.choice(others, MAX_ROWS), columns[name])
    return rows


def _as(numbers: Array, column: Array) -> Array:
    """Numbers in the type of a column, within its range."""
    if column.dtype.kind not in "iu":
        return numbers.astype(column.dtype)
    limits = np.iinfo(column.dtype)
    low, high = max(float(limits.min), -(2.0**53)), min(float(limits.max), 2.0**53)
    return np.clip(np.round(numbers), low, high).astype(column.dtype)


def _other_texts(columns: Columns, texts: list[str], rng: np.random.Generator) -> Iterator[tuple[str, Columns]]:
    known = {name: [cell for cell in columns[name].tolist() if isinstance(cell, str)] or [""] for name in texts}
    yield UNKNOWN_TEXT, _one_by_one(columns, texts, lambda name, _: f"{max(known[name], key=len)}?", rng, len(texts))
    yield EMPTY_TEXT, _one_by_one(columns, texts, lambda _, __: "", rng, len(texts))
    count = max(MAX_ROWS, len(texts))
    yield AWKWARD_TEXT, _one_by_one(columns, texts, lambda name, row: _awkward(known[name], row, rng), rng, count)


def _awkward(known: list[str], row: int, rng: np.random.Generator) -> str:
    pattern, text = AWKWARD[row % len(AWKWARD)], known[int(rng.integers(len(known)))]
    return pattern.format(*[text] * pattern.count("{}"))


def _one_by_one(columns: Columns, names: list[str], cell: object, rng: np.random.Generator, count: int) -> Columns:
    """Rows in each of which one of the columns `names` has another cell."""
    assert callable(cell)
    rows = _drawn(columns, count, rng)
    for number, name in enumerate(names):
        changed = rows[name].astype(object)
        for row in range(number, count, len(names)):
            changed[row] = cell(name, row // len(names))
        rows[name] = changed
    return rows


def _lacking(
    columns: Columns, numbers: list[str], texts: list[str], rng: np.random.Generator
) -> Iterator[tuple[str, Columns]]:
    tried = numbers[:MAX_COLUMNS]
    for kind, masks in zip(LACKING_NUMBERS, _masks(columns, numbers, tried, rng), strict=True):
        if len(masks):
            yield kind, _without(columns, numbers, masks, rng)
    if texts:
        masks = np.eye(len(texts), dtype=bool)
        yield LACKING_TEXT, _without(columns, texts, np.repeat(masks, 2, axis=0), rng)


def _masks(columns: Columns, numbers: list[str], tried: list[str], rng: np.random.Generator) -> list[Array]:
    """Returns for each kind bool arrays (rows, numbers) of the cells that a row lacks."""
    count, width = len(tried), len(numbers)
    none = np.zeros((0, width), dtype=bool)
    if not count:
        return [none] * len(LACKING_NUMBERS)
    one = np.eye(count, width, dtype=bool)[np.sort(np.arange(max(count, MAX_ROWS // 2)) % count)]
    two = one | np.eye(count, width, dtype=bool)[rng.integers(0, count, len(one))] if count > 1 else none
    half = rng.random((MAX_ROWS // 2, width)) < 0.5 if count > 1 else none
    own = np.stack([missing_cells(columns[name]) for name in numbers], axis=1)
    own = np.unique(own[own.any(axis=1)], axis=0)
    picked = own[rng.integers(0, len(own), min(MAX_ROWS, 4 * len(own)))] if len(own) else none
    return [one, two, half, np.ones((2, width), dtype=bool), picked]


def _without(columns: Columns, names: list[str], masks: Array, rng: np.random.Generator) -> Columns:
    whole = np.flatnonzero(~np.logical_or.reduce([missing_cells(column) for column in columns.values()]))
    known = {name: column[whole] for name, column in columns.items()} if len(whole) else columns
    rows = _drawn(known, len(masks), rng)
    for number, name in enumerate(names):
        cells = rows[name].astype(object) if is_text(columns[name]) else rows[name].copy()
        cells[masks[:, number]] = missing_cell(columns[name])
        rows[name] = cells
    return rows


def _drawn(columns: Columns, count: int, rng: np.random.Generator) -> Columns:
    picked = rng.integers(0, _length(columns), size=count)
    return {name: column[picked] for name, column in columns.items()}


def _replaced(rows: Columns, others: Columns) -> Columns:
    return rows | {name: column.astype(rows[name].dtype) for name, column in others.items()}


def _columns(sample: Array | Mapping[str, Array]) -> Columns:
    if isinstance(sample, np.ndarray):
        return {str(position): sample[:, position] for position in range(sample.shape[1])}
    return dict(sample)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _join(parts: list[Array]) -> Array:
    if any(is_text(part) for part in parts):
        return np.concatenate([part.astype(object) for part in parts])
    return np.concatenate(parts)


def _kept(dtype: np.dtype[np.generic], made: list[tuple[str, Columns]]) -> np.dtype[np.generic]:
    """Returns the type of a matrix, which every row keeps."""
    assert made
    return dtype
