"""The telemetry messages of a device that were counted, so that a repeated message is counted once.

Decides by the message's start of the agent (`boot`) and its number (`seq`). Numbers may come in any order within a
span: the anti-replay check of IPsec (RFC 6479). A start that many others have followed is over: whatever comes of it
counts as repeated. Telemetry waits in an agent's memory, so that an honest agent sends none of an earlier start.
Refuses to know what messages say.
"""

import msgspec

SPAN = 1024
"""Numbers behind the highest one that are distinguished; older ones count as repeated. Half a day of a message a
minute."""
MAX_BOOTS = 8
"""Starts of the agent that may still send, newest last."""
MAX_OVER = 4_096
"""Starts before those that are remembered as over: eleven years of one a day, 32 kB of a device. A message of a start
before them would count again; nobody can replay one before the device itself has started so often since."""


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
    """The numbers of a device's newest starts, and the starts that are over."""

    starts: tuple[Numbers, ...] = ()
    over: tuple[int, ...] = ()
    """Their `boot`, newest last."""

    def then(self, boot: int, seq: int) -> tuple["Heard", bool]:
        """Returns (the numbers with this message, whether it is new)."""
        known = self.starts[-1] if self.starts and self.starts[-1].boot == boot else self._start(boot)
        if known is None:
            return (self, False) if boot in self.over else (self._begun(Numbers(boot, seq)), True)
        more = known.then(seq)
        if more is None:
            return self, False
        if len(self.starts) == 1:
            return Heard((more,), self.over), True
        return Heard(tuple(more if each is known else each for each in self.starts), self.over), True

    def _start(self, boot: int) -> Numbers | None:
        return next((each for each in self.starts if each.boot == boot), None)

    def up_to(self, boot: int, seq: int) -> "Heard":
        """Returns the same, with all numbers of a start up to this one counted."""
        if boot in self.over:
            return self
        others = tuple(each for each in self.starts if each.boot != boot)
        return Heard(others, self.over)._begun(Numbers(boot, seq, (1 << SPAN) - 1))

    def _begun(self, numbers: Numbers) -> "Heard":
        starts = (*self.starts, numbers)
        gone = tuple(each.boot for each in starts[:-MAX_BOOTS])
        return Heard(starts[-MAX_BOOTS:], (*self.over, *gone)[-MAX_OVER:] if gone else self.over)
