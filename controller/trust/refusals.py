"""Refused attempts in the audit: the first of a kind at once, the rest as a count per minute.

Decides how many entries a flood of attempts can cause. Refuses to know what was refused, and where entries are written.
Time is handed in.
"""

from collections import deque
from dataclasses import dataclass, field, replace

MINUTE_S = 60.0
MAX_UNWRITTEN = 1_000
"""Entries that wait for a disk that accepts them: half an hour of the worst flood; the oldest are dropped first."""
MAX_KINDS = 20
"""Kinds that are counted separately within one minute; the others share one count: at most 29,000 entries a day."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry for the audit."""

    actor: str
    action: str
    subject: str
    detail: str


OTHERS = Refusal("unknown", "refused", "others", "more than can be told apart")


@dataclass
class Refusals:
    """Refused attempts of the current minute."""

    _counts: dict[Refusal, int] = field(default_factory=dict)
    _ends_at: float = 0.0
    unwritten: deque[Refusal] = field(default_factory=lambda: deque(maxlen=MAX_UNWRITTEN))
    """Entries that were due and that the disk has not stored yet."""

    def note(self, refusal: Refusal, now: float) -> list[Refusal]:
        """Counts one attempt; returns the entries to write now."""
        due = self.due(now)
        if not self._counts:
            self._ends_at = now + MINUTE_S
        known = refusal in self._counts or len(self._counts) < MAX_KINDS
        key = refusal if known else OTHERS
        first = key not in self._counts
        self._counts[key] = self._counts.get(key, 0) + 1
        return [*due, key] if first else due

    def due(self, now: float) -> list[Refusal]:
        """Returns the counts of a minute that is over."""
        return self.rest() if now >= self._ends_at else []

    def rest(self) -> list[Refusal]:
        """Returns all counts, at the end."""
        told = [
            replace(refusal, detail=f"{count - 1} more within a minute: {refusal.detail}")
            for refusal, count in self._counts.items()
            if count > 1
        ]
        self._counts.clear()
        return told
