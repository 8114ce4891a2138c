"""How much the labels of one device may count in a figure of the whole fleet.

Decides by what other devices of the same version have: a device with many times as many labels as the median counts
like one at the limit, so that one that lies, or is copied, does not hide the answers of all others. Refuses to know
where figures are shown; rollouts compare device with device and need no limit.
"""

from collections.abc import Sequence
from statistics import median

from msgspec.structs import replace

from controller.rollout.facts import Sums

MOST_MEDIANS = 100.0
"""A busy device may count a hundred times as much as one in the middle of its fleet."""
FEWEST_DEVICES = 3
"""Of fewer devices none is in the middle: each counts fully."""
_LABELS = (
    "labelled", "correct", "measured", "absolute_error_sum", "squared_error_sum", "label_sum", "squared_label_sum",
)  # fmt: skip


def most_labels(labelled: Sequence[int]) -> float:
    """Returns how many labels of one device count, by those of each device that has any; infinity for no limit."""
    return MOST_MEDIANS * median(labelled) if len(labelled) >= FEWEST_DEVICES else float("inf")


def with_most_labels(sums: Sums, most: float) -> Sums:
    """Returns the sums of a device with no more labels than `most`: its accuracy and its errors stay what they are."""
    if sums.labelled <= most:
        return sums
    scaled = {name: getattr(sums, name) * (most / sums.labelled) for name in _LABELS}
    counts = {name: round(scaled[name]) for name in ("labelled", "correct", "measured")}
    return replace(sums, **(scaled | counts))
