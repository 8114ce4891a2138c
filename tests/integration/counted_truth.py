"""The expected counts of requests to one model, by release and by code. The figures of a device must equal them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

BAD = 0.2
"""The requests that the model refuses."""
MACHINES = ("lathe", "mill", "press")


@dataclass
class Truth:
    """Counts of requests."""

    inferences: Counter[int] = field(default_factory=Counter)
    """Answered requests by release; `rows`, `labelled` and `correct` are by release too."""
    rows: Counter[int] = field(default_factory=Counter)
    labelled: Counter[int] = field(default_factory=Counter)
    correct: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """The refused requests by code."""
    elsewhere: int = 0
    """Requests refused before a model was called: sensor lines that are not a row, and unknown models."""

    def answered(self, release: int, rows: int) -> None:
        """Adds one answered request."""
        self.inferences[release] += 1
        self.rows[release] += rows

    def add(self, other: "Truth") -> None:
        """Adds the counts of another interface."""
        for mine, theirs in zip(self._counters, other._counters, strict=True):
            mine.update(theirs)
        self.elsewhere += other.elsewhere

    @property
    def requests(self) -> int:
        """All that were sent."""
        return self.inferences.total() + self.refused.total() + self.elsewhere

    @property
    def plain(self) -> dict[str, Any]:
        """The counts as JSON."""
        names = ("inferences", "rows", "labelled", "correct")
        by_release = {name: [*getattr(self, name).items()] for name in names}
        return {**by_release, "refused": self.refused, "elsewhere": self.elsewhere}

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Truth":
        """What `plain` has told."""
        names = ("inferences", "rows", "labelled", "correct")
        by_release = {name: Counter(dict(plain[name])) for name in names}
        return cls(**by_release, refused=Counter(plain["refused"]), elsewhere=plain["elsewhere"])

    @property
    def _counters(self) -> tuple[Counter[Any], ...]:
        return self.inferences, self.rows, self.labelled, self.correct, self.refused
