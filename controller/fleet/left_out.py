"""What devices said that was left out: rows of versions that the registry lacks, messages that could not be used.

Decides under which names it is counted, for how long a person is told, and when a device whose messages could not be
used counts as well again. Refuses to know why a part is wrong.
"""

from collections import Counter
from dataclasses import dataclass, field

import msgspec

REASONS = (
    "rows_unregistered", "labels_unregistered", "messages_unusable", "counts_impossible", "counts_too_many",
    "names_unknown", "telemetry_repeated",
)  # fmt: skip
"""The names of `LeftOut.counts`. Rows and labels are counted one by one, messages and entries of telemetry too."""
TOLD_S = 3600.0
"""Seconds after the newest left-out row for which a person is told: a device may capture a few rows an hour."""
WELL_AFTER = 3
"""Messages of the kind that could not be used, which must be used one after the other until the device counts as well:
otherwise one that sends good and bad ones in turn would be told again and again."""
MAX_VERSIONS = 64
"""Versions whose left-out rows are counted by name. Devices can invent names without end: later ones are `OTHERS`."""
OTHERS = ("", 0)
MAX_DEVICES = 1_000
"""Devices that are named; the one that was named first is dropped first."""
MAX_NAME_CHARS = 40
MAX_WORDS = 200
"""Characters about a message that could not be used."""


class Unusable(msgspec.Struct, frozen=True):
    """The messages of one kind from one device that could not be used."""

    words: str
    """The newest of them."""
    count: int
    used_since: int = 0
    """Messages of this kind that were used after it."""

    @property
    def told(self) -> str:
        """The words, with the number of such messages."""
        return self.words if self.count == 1 else f"{self.words}; {self.count} of this kind so far"


@dataclass
class LeftOut:
    """The counts since the controller started, and what a person is told."""

    counts: Counter[str] = field(default_factory=Counter)
    """By `REASONS`."""
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    """(model, release) -> captured rows that were left out, because the registry has no such version."""
    _newest: dict[str, tuple[float, str]] = field(default_factory=dict)
    """device -> (seconds since 1970, words) of its newest left-out row"""
    _unusable: dict[tuple[str, str], Unusable] = field(default_factory=dict)
    """(device, kind of message) -> what could not be used and has not healed"""

    def note_row(self, device: str, model: str, release: int, now: float) -> None:
        """Counts a captured row of a version that the registry lacks. `now` is in seconds since 1970."""
        of = model[:MAX_NAME_CHARS], release
        if of not in self.rows and len(self.rows) >= MAX_VERSIONS:
            of = OTHERS
        self.rows[of] = self.rows.get(of, 0) + 1
        self.counts["rows_unregistered"] += 1
        named = f"{model[:MAX_NAME_CHARS]} v{release}"
        self._newest.pop(device, None)
        self._newest[device] = now, f"captured rows of {named}, which the registry does not have"
        if len(self._newest) > MAX_DEVICES:
            del self._newest[next(iter(self._newest))]

    def note_unusable(self, device: str, kind: str, error: Exception) -> None:
        """Counts a message that was readable and could not be used."""
        self.counts["messages_unusable"] += 1
        known = self._unusable.pop((device, kind), None)
        words = f"a {kind} could not be used: {error!r}"[:MAX_WORDS]
        self._unusable[device, kind] = Unusable(words, 1 + (known.count if known is not None else 0))
        if len(self._unusable) > MAX_DEVICES:
            del self._unusable[next(iter(self._unusable))]

    def note_used(self, device: str, kind: str) -> None:
        """Notes that a message was used; after `WELL_AFTER` of them the device counts as well."""
        known = self._unusable.get((device, kind)) if self._unusable else None
        if known is None:
            return
        if known.used_since + 1 >= WELL_AFTER:
            del self._unusable[device, kind]
        else:
            self._unusable[device, kind] = msgspec.structs.replace(known, used_since=known.used_since + 1)

    def rows_told(self, now: float) -> dict[str, str]:
        """Returns by device, in words, what was left out of its captured rows lately."""
        return {device: words for device, (at, words) in self._newest.items() if now - at <= TOLD_S}

    def unusable_told(self) -> dict[str, str]:
        """Returns by device, in words, which of its messages could not be used."""
        return {device: found.told for (device, _), found in self._unusable.items()}

    def drop(self, device: str) -> None:
        """Removes what is known of a device that has left the fleet; the counts stay."""
        self._newest.pop(device, None)
        for of in [each for each in self._unusable if each[0] == device]:
            del self._unusable[of]
