"""Ranks the movements of distributions: inputs by column, answers, confidence; and on which devices. It is a
diagnosis and never an alarm.

Decides the order and the sentences. Refuses to know where counts are kept, and whether the model has become worse:
labels and the verdict of a rollout show that.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from contract.distributions import Edges, Reference
from contract.tensors import Array
from controller.drift.blocks import Blocks, labels_by_block
from controller.drift.distance import MIN_ROWS, Moved, apart, moved
from controller.drift.shape import Shape

Sort = Literal["input", "answer", "confidence"]
MAX_DEVICES_NAMED = 10


class Bin(msgspec.Struct, frozen=True):
    """One bin of a distribution: rows in the newest block, in the blocks before, and in the sample of the model."""

    words: str
    now: int
    before: int
    reference: int | None
    """None: the sample of the model has no counts of it, as of answers by name."""


class Ranked(msgspec.Struct, frozen=True):
    """One distribution, and how far it has moved."""

    what: str
    sort: Sort
    moved: Moved
    towards: str
    """Which values have become more frequent, in words."""
    bins: tuple["Bin", ...] = ()
    """The bins in their order; with numbers those between, which are tenths of the reference, first what is missing."""


class DeviceMoved(msgspec.Struct, frozen=True):
    """One device, and its input that has moved most compared with its own past."""

    device: str
    what: str
    distance: float
    rows: int


def ranked(blocks: Blocks, reference: Reference, *, classifies: bool) -> list[Ranked]:
    """Returns all distributions that can be compared, the one that has moved furthest first."""
    edges, sample = reference.features, reference.feature_counts
    found = [
        _ranked(name, "input", blocks.counts(name), edges.get(name), sample.get(name, ())) for name in blocks.columns()
    ]
    sort: Sort = "confidence" if classifies else "answer"
    found.append(_ranked(sort, sort, blocks.counts(""), reference.output, reference.output_counts))
    names, counts = labels_by_block(blocks)
    if classifies and len(names) and (how := moved(counts)) is not None:
        words = [f'"{name}"' for name in names]
        found.append(Ranked("answer", "answer", how, words[how.bin], _bins(counts, words, ())))
    return sorted((each for each in found if each is not None), key=lambda each: (-each.moved.rank, each.what))


def _ranked(what: str, sort: Sort, counts: Array, edges: Edges | None, sample: Sequence[int]) -> Ranked | None:
    """Ranks one distribution, whose counts are by block and bin; None if it cannot be compared."""
    how = moved(counts)
    if how is None:
        return None
    words = [bin_words(edges, at) for at in range(counts.shape[1])]
    return Ranked(what, sort, how, words[how.bin], _bins(counts, words, sample))


def _bins(counts: Array, words: Sequence[str], sample: Sequence[int]) -> tuple[Bin, ...]:
    now, before = counts[0], counts[1:].sum(axis=0)
    known = len(sample) == len(words)
    return tuple(
        Bin(each, int(now[at]), int(before[at]), sample[at] if known else None) for at, each in enumerate(words)
    )


def devices_moved(blocks: Blocks, names: Mapping[str, str] | None = None) -> list[DeviceMoved]:
    """Returns devices by how far their inputs have moved from their own past; `names` maps devices to strata."""
    now, before = (_named(side, names) for side in (blocks.newest, blocks.before))
    found = []
    for name, shape in now.items():
        far = [(apart(*pair), column, rows) for column, rows, pair in _pairs(shape, before[name])]
        if far:
            distance, column, rows = max(far)
            found.append(DeviceMoved(name, column, distance, rows))
    return sorted(found, key=lambda each: (-each.distance, each.device))[:MAX_DEVICES_NAMED]


def sentence(found: Sequence[Ranked], blocks: Blocks, per: str) -> str:
    """Says in one or two sentences which column has moved most, and how much it moved in the past."""
    if not found:
        return f"Nothing can be told yet: {_missing(blocks)}."
    first = found[0]
    points = f"{first.what} moved most: {first.moved.distance:.1%} of its rows lie elsewhere, more in {first.towards}."
    if first.moved.limit is None:
        return f"{points} How much is usual can't be told yet: that takes five {per}s of past."
    own = f"Its own {per}s moved by {first.moved.usual:.1%}, and up to {first.moved.limit:.1%} is explained by them."
    beyond = sum(each.moved.is_beyond for each in found)
    rest = f" {beyond} of {len(found)} moved further than their own past explains." if beyond else " That is quiet."
    return f"{points} {own}{rest}"


def bin_words(edges: Edges | None, at: int) -> str:
    """Returns a bin of `contract.distributions.count` in words: `3.2 to 4.1`, `up to 0.5`, `missing`, a category."""
    if edges is None:
        return f"bin {at}"
    if at == 0:
        return "missing"
    if edges.dtype.kind == "U":
        return f'"{edges[at - 1]}"' if at <= len(edges) else "other categories"
    if not len(edges):
        return "any number"
    if at == 1:
        return f"up to {edges[0]:.4g}"
    return f"{edges[at - 2]:.4g} to {edges[at - 1]:.4g}" if at <= len(edges) else f"above {edges[-1]:.4g}"


def _missing(blocks: Blocks) -> str:
    if not blocks.devices:
        return "no device has rows now and in an earlier block"
    return f"fewer than {MIN_ROWS} rows were counted"


def _named(side: Mapping[str, Shape], names: Mapping[str, str] | None) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for device, shape in side.items():
        name = device if names is None else names.get(device, "")
        found[name] = found.get(name, Shape()).plus(shape)
    return found


def _pairs(now: Shape, before: Shape) -> list[tuple[str, int, tuple[Array, Array]]]:
    """Yields (column, rows, ratios now and before) of columns of which both have enough rows."""
    found = []
    for column, counts in now.features.items():
        past = before.features.get(column, ())
        bins = max(len(counts), len(past))
        ours, theirs = (np.array([*each, *[0] * (bins - len(each))], dtype=np.float64) for each in (counts, past))
        if min(ours.sum(), theirs.sum()) >= MIN_ROWS:
            found.append((column, int(ours.sum()), (ours / ours.sum(), theirs / theirs.sum())))
    return found
