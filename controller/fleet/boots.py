"""The starts of one device's agent, and the order of its messages.

Decides whether a message is new, a repetition, or from a second device with the same name. A start has a random number
(`boot`), and its messages are numbered (`seq`). No clock and no counter of the device is compared, so a card that is
restored from a backup or flashed again is accepted at once. Refuses to know what the messages say.
"""

import msgspec
from msgspec.structs import replace

MAX_PAST_BOOTS = 32
"""The most earlier starts that are kept: a month of a device that starts every day."""
TAKES_OVER_S = 75.0
"""An earlier start that sends again is accepted once the newest was silent for so many seconds: two and a half
heartbeats."""
SPACING_S = 5.0
"""Messages that waited together in a broker arrive within so many seconds. Those of a second device are further
apart."""
RETURNS_OF_A_COPY = 2
"""If an earlier start sends so often beside the newest one, it is a second device. A single message may be a late
one."""
FORGOTTEN_S = 600.0
"""Seconds of silence after which a second device counts as ended."""


class Boot(msgspec.Struct, frozen=True):
    """One start of the agent. Times are seconds since 1970 by the controller's clock."""

    id: int
    seq: int
    """The highest number in a received message."""
    began_at: float = 0.0
    heard_at: float = 0.0
    returns: int = 0
    """How often it has sent messages after a later start."""


class Boots(msgspec.Struct, frozen=True):
    """The newest start of a device and those before it, oldest first."""

    current: Boot | None = None
    past: tuple[Boot, ...] = ()

    def heard(self, boot: int, seq: int, now: float) -> tuple["Boots", bool]:
        """Returns (the starts after this message, whether the message is newer than all that were folded in).

        An unknown start becomes the newest. A known earlier one stays behind it, unless the newest stops sending.
        """
        if self.current is not None and boot == self.current.id:
            return self._goes_on(self.current, seq, now)
        known = next((each for each in self.past if each.id == boot), None)
        if known is None:
            return self._followed_by(Boot(boot, seq, began_at=now, heard_at=now)), True
        if seq <= known.seq:
            return self, False
        return self._returned(known, seq, now)

    def is_taken(self, now: float) -> bool:
        """Returns whether two devices use this name: a second one has sent messages in the last `FORGOTTEN_S`."""
        return any(each.returns >= RETURNS_OF_A_COPY and now - each.heard_at <= FORGOTTEN_S for each in self.past)

    def changes_past_of(self, before: "Boots") -> bool:
        """Returns whether the earlier starts differ from those of `before`: that happens only with another newest
        start.
        """
        if self.current is before.current or (self.current and before.current and self.current.id == before.current.id):
            return False
        return [each.id for each in self.past] != [each.id for each in before.past]

    def kept(self) -> tuple[tuple[int, int], ...]:
        """Returns (id, highest number) of earlier starts, oldest first: what the controller must keep durably."""
        return tuple((each.id, each.seq) for each in self.past)

    def _goes_on(self, current: Boot, seq: int, now: float) -> tuple["Boots", bool]:
        if seq <= current.seq:
            return self, False
        return replace(self, current=replace(current, seq=seq, heard_at=now)), True

    def _followed_by(self, newer: Boot) -> "Boots":
        before = () if self.current is None else (self.current,)
        past = tuple(each for each in self.past if each.id != newer.id) + before
        return Boots(newer, past[-MAX_PAST_BOOTS:])

    def _returned(self, known: Boot, seq: int, now: float) -> tuple["Boots", bool]:
        """Handles a new message of an earlier start: a late message, a second device, or the start that really runs."""
        current = self.current
        apart = current is not None and now - max(current.began_at, known.heard_at) >= SPACING_S
        known = replace(known, seq=seq, heard_at=now, returns=known.returns + apart)
        if current is None or now - current.heard_at > TAKES_OVER_S:
            return self._followed_by(replace(known, began_at=now)), True
        return replace(self, past=tuple(known if each.id == known.id else each for each in self.past)), False


def of_past(kept: tuple[tuple[int, int], ...]) -> Boots:
    """Returns the starts that a controller loads when it starts: none is the newest yet."""
    return Boots(past=tuple(Boot(number, seq) for number, seq in kept))
