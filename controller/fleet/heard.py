"""The telemetry messages of a device that were counted, so that a repeated message is counted once.

Decides by the message's start of the agent (`boot`) and its number (`seq`). Numbers may come in any order within a
span: the anti-replay check of IPsec (RFC 6479). Refuses to know what messages say.
"""

import msgspec

SPAN = 1024
"""Numbers behind the highest one that are distinguished; older ones count as repeated. Half a day of a message a
minute."""
MAX_BOOTS = 8
"""Starts of the agent that are kept, newest last."""


class Numbers(msgspec.Struct, frozen=True):
    """The numbers of one start: the highest, and a bit for each of the `SPAN` up to it."""

    boot: int
    highest: int
    bits: int = 1

    def then(self, seq: int) -> "Numbers | None":
        """Returns the numbers with one more; None if it was there already, or is too old to check."""
        ahead = seq - self.highest
        if ahead > 0:
            bits = 1 if ahead >= SPAN else ((self.bits << ahead) | 1) & ((1 << SPAN) - 1)
            return Numbers(self.boot, seq, bits)
        if -ahead >= SPAN or self.bits >> -ahead & 1:
            return None
        return Numbers(self.boot, self.highest, self.bits | 1 << -ahead)


class Heard(msgspec.Struct, frozen=True):
    """The numbers of a device's newest starts."""

    starts: tuple[Numbers, ...] = ()

    def then(self, boot: int, seq: int) -> tuple["Heard", bool]:
        """Returns (the numbers with this message, whether it is new)."""
        known = next((each for each in self.starts if each.boot == boot), None)
        if known is None:
            return Heard((*self.starts, Numbers(boot, seq))[-MAX_BOOTS:]), True
        more = known.then(seq)
        if more is None:
            return self, False
        return Heard(tuple(more if each is known else each for each in self.starts)), True

    def up_to(self, boot: int, seq: int) -> "Heard":
        """Returns the same, with all numbers of a start up to this one counted."""
        others = tuple(each for each in self.starts if each.boot != boot)
        return Heard((*others, Numbers(boot, seq, (1 << SPAN) - 1))[-MAX_BOOTS:])
