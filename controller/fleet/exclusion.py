"""The reason why a device gets no release: a code, by which other code distinguishes reasons, and words for people.

Decides the codes. Refuses to know which device is excluded from what.
"""

from typing import Literal

from contract.wire import Message

Why = Literal["pinned", "quarantined", "nothing_serves", "hardware", "unregistered", "unknown"]
"""unregistered: the registry does not hold what the device runs. unknown: stored before there were codes."""


class Exclusion(Message, frozen=True):
    """Why one device gets no release."""

    why: Why
    words: str

    def with_words(self, more: str) -> "Exclusion":
        """Returns the same reason with more words."""
        return Exclusion(self.why, self.words + more)
