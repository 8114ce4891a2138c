"""Answers of a classifier by group, `column=value`, so that fairness can be watched over time.

Decides which group a row belongs to and what is counted of it; counts are added across devices and intervals. Refuses
to know which differences are fair, and which groups are too small to show: the controller decides both.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agent.ports import Array
from contract.labels import Answer, same_label
from contract.protocol import MAX_GROUPS

MAX_VALUE_CHARS = 40
MAX_ROWS = 64
"""The rows of one request that are counted by group."""
MAX_WAITING = 4096
"""The most answers whose groups are kept until their label comes: one a second for an hour, about 500 kB."""
OTHER = "other"


class Groups:
    """Counts of one version. Called under the lock that guards its other counts."""

    def __init__(self, columns: tuple[str, ...], positive: str) -> None:
        self._columns = columns
        self._positive = positive
        self._counts: dict[str, list[int]] = {}
        self._waiting: OrderedDict[tuple[int, int], tuple[str, ...]] = OrderedDict()

    def add(self, of: tuple[int, int], values: Mapping[str, Any], answer: Answer, label: Answer | None = None) -> None:
        """Counts an answered row by column name; its groups are kept for a label that comes later.

        `of` is the number of the answer and the row in it; number 0: no label will come. A row without a group column
        belongs to no group of that column.
        """
        names = tuple(self._name(column, values[column]) for column in self._columns if column in values)
        if not names:
            return
        chosen = same_label(answer, self._positive)
        for name in names:
            counts = self._of(name)
            counts[0] += 1
            counts[1] += chosen
        if label is not None:
            self._judge(names, chosen=chosen, label=label)
        elif of[0]:
            self._waiting[of] = names
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)

    def judged_later(self, of: tuple[int, int], answer: Answer, label: Answer) -> None:
        """Counts the label of a row that was answered earlier."""
        if (names := self._waiting.pop(of, None)) is not None:
            self._judge(names, chosen=same_label(answer, self._positive), label=label)

    def add_tensors(self, number: int, columns: Mapping[str, Array], answers: Array) -> None:
        """Counts the first rows of answered tensors: inputs by column and answers, each of shape (rows,)."""
        rows = min(MAX_ROWS, len(answers), *(len(column) for column in columns.values()))
        for row in range(rows):
            answer = answers[row].item() if hasattr(answers[row], "item") else answers[row]
            self.add((number, row), {name: column[row] for name, column in columns.items()}, answer)

    def take(self) -> dict[str, tuple[int, ...]]:
        """Returns what was counted since the last call."""
        counts, self._counts = self._counts, {}
        return {name: tuple(each) for name, each in counts.items()}

    def _judge(self, names: tuple[str, ...], *, chosen: bool, label: Answer) -> None:
        place = 2 if same_label(label, self._positive) else 4
        for name in names:
            counts = self._of(name)
            counts[place] += 1
            counts[place + 1] += chosen

    def _of(self, name: str) -> list[int]:
        if name not in self._counts and len(self._counts) >= MAX_GROUPS:
            name = OTHER
        return self._counts.setdefault(name, [0] * 6)

    def _name(self, column: str, value: Any) -> str:
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        return f"{column}={plain}"[: len(column) + 1 + MAX_VALUE_CHARS]
