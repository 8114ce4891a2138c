"""The inputs and answers of one version in an interval of time: counts per bin, answers, breaches, groups. Counts are
added.

Decides what is summed and how many names are kept. Refuses to know where rows are kept and what a difference means.
"""

from collections.abc import Mapping

import msgspec

from contract.histogram import merge
from contract.messages import ModelInterval
from contract.protocol import MAX_FEATURES, MAX_GROUPS

MAX_LABELS = 64
"""Answers that are counted by name; devices do not agree about which are the rarest."""
OTHER = "other"

ByName = Mapping[str, tuple[int, ...]]


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """Counts of one version on one device, or the sum over several."""

    features: ByName = {}
    """Inputs by column: counts per bin of the golden set's reference."""
    outputs: tuple[int, ...] = ()
    """Numbers answered, or a classifier's confidence: counts per bin of the reference."""
    predictions: Mapping[str, int] = {}
    """Answers by label."""
    breaches: ByName = {}
    """Cells that break the data contract, by column: counts per kind of contract.row_contract.BREACHES."""
    groups: ByName = {}
    """Answers by group: the six counts of a telemetry message."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.features or self.outputs or self.predictions or self.groups)

    def plus(self, other: "Shape") -> "Shape":
        """The sum of both shapes."""
        return Shape(
            _added(self.features, other.features, MAX_FEATURES),
            merge((self.outputs, other.outputs)),
            _labels(self.predictions, other.predictions),
            _added(self.breaches, other.breaches, MAX_FEATURES),
            _added(self.groups, other.groups, MAX_GROUPS),
        )


def shape_of(interval: ModelInterval) -> Shape:
    """Returns what a telemetry message reports about one version, apart from its sums."""
    return Shape(interval.features, interval.outputs, interval.predictions, interval.breaches, interval.groups)


def _added(ours: ByName, theirs: ByName, most: int) -> ByName:
    """Returns the sum by name. A device that invents names uses no more memory."""
    if not ours or not theirs:
        return ours or theirs
    found = dict(ours)
    for name, counts in theirs.items():
        if name in found or len(found) <= most:
            found[name] = merge((found.get(name, ()), counts))
    return found


def _labels(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    if not ours or not theirs:
        return ours or theirs
    found = dict(ours)
    for label, count in theirs.items():
        name = label if label in found or len(found) < MAX_LABELS else OTHER
        found[name] = found.get(name, 0) + count
    return found
