"""Captured rows with a label, as blocks of calibration: per bin of confidence, all rows and right rows.

Decides which rows count. Refuses to know where they are kept and who gave the label.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from contract.captured import CapturedRow
from contract.labels import Answer, Unusable, plain_label, same_label, settle_label
from controller.drift.blocks import MAX_BLOCKS, Blocks, block_of
from controller.drift.breaches import BreachRate, interval
from controller.drift.quality import Labelled

MIN_UNKNOWN = 3
"""The number of labels of no known class in one block that is more than single spelling mistakes."""


def labelled_blocks(
    rows: Iterable[CapturedRow], edges: Sequence[float], blocks: Blocks, release: int, classes: Collection[Answer] = ()
) -> list[Labelled | None]:
    """Returns the blocks with labels, the newest first; index 0 is the block that is estimated now. None: no label in
    it.

    `classes`: the plain labels that versions of the model answer; rows with another label are left out. Empty: classes
    are unknown, and all rows count. Rows that were captured as hard count as well: among rows of one confidence they
    are as often right as others.
    """
    counts = np.zeros((MAX_BLOCKS, 2, len(edges) + 2))
    met = blocks.counts("")
    for row in rows:
        says = row.release == release and row.label is not None and (not classes or plain_label(row.label) in classes)
        at = block_of(row.at, blocks.now, blocks.span_s) if says else None
        if at is not None and row.confidence is not None and (right := is_right(row)) is not None:
            place = int(np.searchsorted(np.asarray(edges), row.confidence)) + 1
            counts[at, 0, place] += 1
            counts[at, 1, place] += right
    return [
        Labelled(rows, right, met[at]) if at < len(met) and rows.sum() and met[at].sum() else None
        for at, (rows, right) in enumerate(counts)
    ]


def unknown_label_rates(
    rows: Iterable[CapturedRow], release: int, blocks: Blocks, classes: Collection[Answer]
) -> list[BreachRate]:
    """Returns the rate of labels of no known class in the newest block, as a breach of the data contract; empty for
    fewer than `MIN_UNKNOWN`, and if no classes are known.
    """
    newest = [
        row.label
        for row in rows
        if row.release == release and row.label is not None and block_of(row.at, blocks.now, blocks.span_s) == 0
    ]
    unknown = sum(plain_label(label) not in classes for label in newest) if classes else 0
    if unknown < MIN_UNKNOWN:
        return []
    low, high = interval(unknown, len(newest))
    rate = unknown / len(newest)
    return [BreachRate("_label", "of_no_known_class", unknown, len(newest), rate, low, high, {})]


def is_right(row: CapturedRow) -> bool | None:
    """Whether the answer equals the label; None without a usable label, or without an answer."""
    if row.label is None or row.value is None or settle_label(row.label, regression=False) in (None, Unusable.LABEL):
        return None
    return same_label(row.value, row.label)
