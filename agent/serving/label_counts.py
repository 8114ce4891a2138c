"""Counts of how labels compare with the answers of one version.

Decides what is added. Refuses to know when a label comes: with its row, or long after the answer.
"""

from typing import Any

from contract.labels import LARGEST


class LabelCounts:
    """Counts and sums, with the names of `ModelInterval`."""

    __slots__ = (
        "absolute_error_sum", "correct", "label_sum", "labelled", "labels_unknown", "labels_unusable", "measured",
        "squared_error_sum", "squared_label_sum",
    )  # fmt: skip

    def __init__(self) -> None:
        self.labelled = self.correct = self.measured = 0
        self.labels_unknown = self.labels_unusable = 0
        self.absolute_error_sum = self.squared_error_sum = 0.0
        self.label_sum = self.squared_label_sum = 0.0

    def add_class(self, *, correct: bool) -> None:
        """Adds a classifier's answer that has a label."""
        self.labelled += 1
        self.correct += correct

    def add_number(self, value: float, label: float) -> float:
        """Adds a regression's answer that has a label; returns their distance, at most `LARGEST`."""
        distance = min(abs(value - label), LARGEST)
        self.labelled += 1
        self.measured += 1
        self.absolute_error_sum += distance
        self.squared_error_sum += distance * distance
        self.label_sum += label
        self.squared_label_sum += label * label
        return distance

    def add(self, other: "LabelCounts") -> None:
        """Adds all counts of `other`."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.labelled or self.labels_unknown or self.labels_unusable)

    def fields(self) -> dict[str, Any]:
        """Returns the fields of a message."""
        return {name: getattr(self, name) for name in self.__slots__}
