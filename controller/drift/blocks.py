"""Shapes in blocks of time with the same phase: each begins at the same hour of the week, weeks apart.

Decides which rows form a block. Only devices count that are in the newest block and in an older one, because the
growth of a fleet is no drift. Refuses to know what a difference means.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from contract.tensors import Array
from controller.drift.shape import Shape

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
MAX_BLOCKS = 57
"""The most blocks of a week: a year and five weeks, so that the same season is included."""

Row = tuple[str, int, float, Shape]
"""(device, release, start in seconds since 1970, shape)"""


@dataclass(slots=True)
class Blocks:
    """Shapes by block, 0 the newest, and by device for the newest block and for all others together."""

    now: float
    span_s: float
    by_block: dict[int, Shape] = field(default_factory=dict)
    newest: dict[str, Shape] = field(default_factory=dict)
    before: dict[str, Shape] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        """The number of devices that count."""
        return len(self.newest)

    def counts(self, name: str) -> Array:
        """Counts of one column by block, shape (blocks, bins); "" for the answers."""
        found = [self._of(at, name) for at in range(max(self.by_block, default=-1) + 1)]
        bins = max((len(each) for each in found), default=0)
        rows = [[*each, *[0] * (bins - len(each))] for each in found]
        return np.array(rows, dtype=np.float64).reshape(len(rows), bins)

    def columns(self) -> list[str]:
        """Columns for which the newest block has counts."""
        return list(self.by_block[0].features) if 0 in self.by_block else []

    def _of(self, at: int, name: str) -> tuple[int, ...]:
        shape = self.by_block.get(at, Shape())
        return shape.features.get(name, ()) if name else shape.outputs


def block_of(start: float, now: float, span_s: float) -> int | None:
    """Returns the block of a row, 0 the newest; None for a row between blocks, after `now` or too old."""
    every_s = math.ceil(span_s / WEEK_S) * WEEK_S
    at, within_s = divmod(now - start, every_s)
    if within_s == 0 and at > 0:
        at, within_s = at - 1, every_s
    return int(at) if start < now and within_s <= span_s and at < MAX_BLOCKS else None


def blocks_of(
    rows: Iterable[Row], now: float, span_s: float, release: int, alike: frozenset[int] = frozenset()
) -> Blocks:
    """Sums rows of a release, and the inputs of releases that count `alike`: with the same bins.

    The answers of other releases are not used for this one.
    """
    placed = [
        (block, device, shape if found == release else Shape(features=shape.features, breaches=shape.breaches))
        for device, found, start, shape in rows
        if (found == release or found in alike) and (block := block_of(start, now, span_s)) is not None
    ]
    steady = {device for at, device, _ in placed if at == 0} & {device for at, device, _ in placed if at > 0}
    found = Blocks(now, span_s)
    for at, device, shape in placed:
        if device in steady:
            found.by_block[at] = found.by_block.get(at, Shape()).plus(shape)
            side = found.before if at else found.newest
            side[device] = side.get(device, Shape()).plus(shape)
    return found


def total_of(shapes: Iterable[Shape]) -> Shape:
    """The sum of shapes."""
    found = Shape()
    for each in shapes:
        found = found.plus(each)
    return found


def labels_by_block(blocks: Blocks) -> tuple[Sequence[str], Array]:
    """(answers by name, counts by block of shape (blocks, answers)) of a classifier."""
    names = sorted({label for shape in blocks.by_block.values() for label in shape.predictions})
    every: list[Mapping[str, int]] = [
        blocks.by_block.get(at, Shape()).predictions for at in range(max(blocks.by_block, default=-1) + 1)
    ]
    return names, np.array([[each.get(name, 0) for name in names] for each in every], dtype=np.float64).reshape(
        len(every), len(names)
    )
